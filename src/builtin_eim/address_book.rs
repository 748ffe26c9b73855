//! The address book: departments, people in the order of their names, search by any part of a name or number.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_lc_rs::digest::{SHA256, digest};

use super::account::Account;
use crate::ids::UserId;

/// Two neighbouring characters, or one and NUL.
type Gram = [char; 2];
/// Bytes of a name's hash in a department's id: no two departments of a company get the same.
const ID_BYTES: usize = 10;
/// Longest id of a department, in characters.
const ID_MAX: usize = 64;

#[derive(Debug)]
struct Department {
    name: String,
    people: BTreeSet<(String, UserId)>,
}

/// The id of the department of that name: the name, or where that can't be an id (it is in Chinese, or of two words),
/// made of it.
pub(super) fn department_id(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.len() <= ID_MAX && name.chars().all(fits) {
        return name.to_owned();
    }
    let hash = digest(&SHA256, name.as_bytes());
    hash.as_ref()[..ID_BYTES].iter().fold("d".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

/// Owned by [`Accounts`](super::accounts::Accounts), which adds and removes.
#[derive(Debug, Default)]
pub(super) struct AddressBook {
    by_name: BTreeSet<(String, UserId)>,
    /// By id.
    departments: BTreeMap<String, Department>,
    /// Entries by number, in the order of their coming; a number is never used twice.
    numbers: BTreeMap<u32, UserId>,
    number_of: HashMap<UserId, u32>,
    next: u32,
    /// Which entries have a gram, ascending: a search reads the shortest list of its grams, not the book.
    grams: HashMap<Gram, Vec<u32>>,
}

impl AddressBook {
    pub fn add(&mut self, account: &Account) {
        let entry = sorted(account);
        if let Some(name) = &account.department {
            let new = || Department { name: name.clone(), people: BTreeSet::new() };
            self.departments.entry(department_id(name)).or_insert_with(new).people.insert(entry.clone());
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
        if let Some(id) = account.department.as_deref().map(department_id)
            && let Some(department) = self.departments.get_mut(&id)
        {
            department.people.remove(&entry);
            if department.people.is_empty() {
                self.departments.remove(&id);
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

    /// Ids and names, by name.
    pub fn departments(&self) -> Vec<(&str, &str)> {
        let mut all: Vec<_> = self.departments.iter().map(|(id, each)| (id.as_str(), each.name.as_str())).collect();
        all.sort_by_key(|(_, name)| *name);
        all
    }

    /// A page of the department with that id, or of all, in the order of names; and how many there are in all.
    pub fn page(&self, department: Option<&str>, offset: usize, limit: usize) -> (Vec<&UserId>, usize) {
        let all = match department {
            None => Some(&self.by_name),
            Some(id) => self.departments.get(id).map(|department| &department.people),
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
            role: crate::event::Role::Guest,
            department: Some(department.into()),
            profile: [("mobile".to_owned(), mobile.to_owned())].into(),
            configured: false,
        }
    }

    #[test]
    fn a_department_of_any_name_has_an_id() {
        let mut book = AddressBook::default();
        for (id, department) in [("u1", "研发部"), ("u2", "研发部"), ("u3", "Sales & Co"), ("u4", "lab.2")] {
            book.add(&account(id, id, "1", department));
        }
        let is_id = |id: &str| id.chars().all(|c| c.is_ascii_alphanumeric() || c == '.') && id.len() <= 64;
        let all: Vec<(String, String)> =
            book.departments().iter().map(|(id, name)| ((*id).into(), (*name).into())).collect();
        let names: Vec<&str> = all.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["Sales & Co", "lab.2", "研发部"]);
        assert!(all.iter().all(|(id, _)| is_id(id)), "{all:?}");
        assert_eq!((all[1].0.as_str(), book.page(Some(&all[2].0), 0, 10).1), ("lab.2", 2));
        assert_eq!(book.page(Some("研发部"), 0, 10).1, 0, "a name is no id");
    }

    #[test]
    fn a_search_finds_every_part_of_a_name_or_number_and_nothing_else() {
        let people = [
            account("u1", "张三", "13422821882", "sales"),
            account("u2", "Zhang San", "555", "sales"),
            account("u3", "Anna", "1342", "lab"),
        ];
        let mut book = AddressBook::default();
        people.iter().for_each(|a| book.add(a));
        let by_id = |user: &UserId| people.iter().find(|a| a.user_id == *user);
        let found = |book: &AddressBook, query: &str| {
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
        assert_eq!(book.departments(), [("lab", "lab"), ("sales", "sales")]);
        assert_eq!(book.page(Some("sales"), 1, 10).1, 2);
        assert_eq!(book.page(None, 0, 2).0.len(), 2);
        people.iter().for_each(|a| book.remove(a));
        assert_eq!(found(&book, "a"), "");
        assert!(book.grams.is_empty() && book.departments.is_empty() && book.by_name.is_empty());
    }
}
