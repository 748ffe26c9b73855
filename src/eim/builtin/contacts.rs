//! The address book: departments, people in the order of their names, search by any part of a name or number.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::people::Account;
use crate::ids::UserId;

/// Two neighbouring characters, or one and NUL.
type Gram = [char; 2];

/// Owned by [`People`](super::people::People), which adds and removes.
#[derive(Debug, Default)]
pub(super) struct Book {
    by_name: BTreeSet<(String, UserId)>,
    departments: BTreeMap<String, BTreeSet<(String, UserId)>>,
    /// Entries by number, in the order of their coming; a number is never used twice.
    numbers: BTreeMap<u32, UserId>,
    number_of: HashMap<UserId, u32>,
    next: u32,
    /// Which entries have a gram, ascending: a search reads the shortest list of its grams, not the book.
    grams: HashMap<Gram, Vec<u32>>,
}

impl Book {
    pub fn add(&mut self, account: &Account) {
        let entry = sorted(account);
        if let Some(department) = &account.department {
            self.departments.entry(department.clone()).or_default().insert(entry.clone());
        }
        self.by_name.insert(entry);
        let number = self.next;
        self.next += 1;
        self.numbers.insert(number, account.user_id.clone());
        self.number_of.insert(account.user_id.clone(), number);
        for gram in grams_of(&searched(account)) {
            self.grams.entry(gram).or_default().push(number);
        }
    }

    pub fn remove(&mut self, account: &Account) {
        let Some(number) = self.number_of.remove(&account.user_id) else { return };
        self.numbers.remove(&number);
        let entry = sorted(account);
        self.by_name.remove(&entry);
        if let Some(department) = &account.department
            && let Some(people) = self.departments.get_mut(department)
        {
            people.remove(&entry);
            if people.is_empty() {
                self.departments.remove(department);
            }
        }
        for gram in grams_of(&searched(account)) {
            let Some(list) = self.grams.get_mut(&gram) else { continue };
            if let Ok(at) = list.binary_search(&number) {
                list.remove(at);
            }
            if list.is_empty() {
                self.grams.remove(&gram);
            }
        }
    }

    pub fn departments(&self) -> impl Iterator<Item = &str> {
        self.departments.keys().map(String::as_str)
    }

    /// A page of a department, or of all, in the order of names; and how many there are in all.
    pub fn page(&self, department: Option<&str>, offset: usize, limit: usize) -> (Vec<&UserId>, usize) {
        let all = match department {
            None => Some(&self.by_name),
            Some(department) => self.departments.get(department),
        };
        let page = all.into_iter().flatten().skip(offset).take(limit).map(|(_, user)| user);
        (page.collect(), all.map_or(0, BTreeSet::len))
    }

    /// Users whose name, id, mobile number or mail address has `query` in it, whatever its case; the oldest entries
    /// first. `account` gives a user's account.
    pub fn search<'b, 'a>(
        &'b self,
        query: &str,
        limit: usize,
        account: impl Fn(&UserId) -> Option<&'a Account>,
    ) -> Vec<&'b UserId> {
        let query = query.trim().to_lowercase();
        let mut grams = grams_of(&query);
        if grams.iter().any(|gram| gram[1] != '\0') {
            grams.retain(|gram| gram[1] != '\0');
        }
        let lists: Option<Vec<&Vec<u32>>> = grams.iter().map(|gram| self.grams.get(gram)).collect();
        let shortest = lists.and_then(|lists| lists.into_iter().min_by_key(|list| list.len()));
        let users = shortest.into_iter().flatten().filter_map(|number| self.numbers.get(number));
        users.filter(|user| account(user).is_some_and(|a| searched(a).contains(&query))).take(limit).collect()
    }
}

fn sorted(account: &Account) -> (String, UserId) {
    (account.name.to_lowercase(), account.user_id.clone())
}

/// The text that a search looks in. Line ends keep a match within one field.
fn searched(account: &Account) -> String {
    let fields = ["englishName", "mobile", "email"].map(|name| account.field(name).unwrap_or_default());
    [[account.name.as_str(), account.user_id.as_str()].as_slice(), &fields].concat().join("\n").to_lowercase()
}

fn grams_of(text: &str) -> BTreeSet<Gram> {
    let single = text.chars().map(|c| [c, '\0']);
    let pairs = text.chars().zip(text.chars().skip(1)).map(|(a, b)| [a, b]);
    single.chain(pairs).filter(|gram| !gram.contains(&'\n')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(id: &str, name: &str, mobile: &str, department: &str) -> Account {
        Account {
            user_id: UserId::parse(id).unwrap(),
            name: name.into(),
            password: None,
            created: 0,
            temporary: false,
            guest_of: None,
            department: Some(department.into()),
            profile: [("mobile".to_owned(), mobile.to_owned())].into(),
            configured: false,
        }
    }

    #[test]
    fn a_search_finds_every_part_of_a_name_or_number_and_nothing_else() {
        let people = [
            account("u1", "张三", "13422821882", "sales"),
            account("u2", "Zhang San", "555", "sales"),
            account("u3", "Anna", "1342", "lab"),
        ];
        let mut book = Book::default();
        people.iter().for_each(|a| book.add(a));
        let by_id = |user: &UserId| people.iter().find(|a| a.user_id == *user);
        let found = |book: &Book, query: &str| {
            book.search(query, 10, by_id).into_iter().map(UserId::to_string).collect::<Vec<_>>().join(" ")
        };
        for (query, users) in [
            ("三", "u1"),
            ("张三", "u1"),
            ("ANN", "u3"),
            ("a", "u2 u3"),
            ("zhang s", "u2"),
            ("1342", "u1 u3"),
            ("u", "u1 u2 u3"),
            ("san 5", ""),
            ("", ""),
            ("nobody", ""),
        ] {
            assert_eq!(found(&book, query), users, "{query}");
        }
        assert_eq!(book.departments().collect::<Vec<_>>(), ["lab", "sales"]);
        assert_eq!(book.page(Some("sales"), 1, 10).1, 2);
        assert_eq!(book.page(None, 0, 2).0.len(), 2);
        people.iter().for_each(|a| book.remove(a));
        assert_eq!(found(&book, "a"), "");
        assert!(book.grams.is_empty() && book.departments.is_empty() && book.by_name.is_empty());
    }
}
