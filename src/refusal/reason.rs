//! Every reason for which this program refuses a request: its kind, its key and its text, once. The built-in EIM's are
//! among them.

use super::Kind;

macro_rules! reasons {
    ($($name:ident: $kind:ident, $key:literal, $text:literal;)*) => {
        /// See the module. What another EIM refuses may have a key of its own: see [`Refusal::by_eim`](super::Refusal::by_eim).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Reason {
            $(#[doc = $text] $name,)*
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The kind of the refusal.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)* }
            }

            /// Stable: what a page translates.
            pub const fn key(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }

            /// English, for developers.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    AuthRequired: Unauthenticated, "auth.required", "a valid access token is required";
    AuthFailed: Unauthenticated, "auth.failed", "wrong id, password or secret";
    SessionEnded: Unauthenticated, "auth.ended", "the session has ended: log in again";
    SessionLost: Unauthenticated, "auth.sessionLost", "the session at the XMPP server is lost: log in again";
    TokenExpired: TokenExpired, "auth.expired", "the access token has expired";
    ScopeMissing: Forbidden, "auth.scopeMissing", "the token lacks the method's scope";
    NotForGuests: Forbidden, "auth.notForGuests", "not for guests";
    NotMember: Forbidden, "conference.notMember", "not a member of that conference";
    ChairOnly: Forbidden, "conference.chairOnly", "for that conference's chair only";
    ConferenceLocked: Forbidden, "conference.locked", "the conference is locked";
    ConferenceBanned: Forbidden, "conference.banned", "sent out of the conference";
    CallHasNoLinks: Forbidden, "conference.ofCall", "a call has no links";
    IqCommandsForbidden: Forbidden, "iq.commandsForbidden", "ad-hoc commands need the scope iq.any";
    IqNamespaceForbidden: Forbidden, "iq.namespaceForbidden", "not a namespace for guests";
    IqDestinationForbidden: Forbidden, "iq.destinationForbidden", "not a destination for guests";
    IqFromForbidden: Forbidden, "iq.fromForbidden", "from is not the caller's own address";
    LinkExpired: Forbidden, "link.expired", "the link has expired";
    LinkRevoked: Forbidden, "link.revoked", "the link has been revoked";
    LinkExhausted: Forbidden, "link.exhausted", "the link has been used as often as it may";
    EimForbidden: Forbidden, "eim.forbidden", "the EIM does not allow it";
    CallerOnly: Forbidden, "call.callerOnly", "for the call's caller only";
    ChairStays: Forbidden, "conference.chairStays", "the chair can't be sent out";
    UnmuteDenied: Forbidden, "conference.unmuteDenied", "the chair does not allow it";
    UserTemporary: Forbidden, "user.temporary", "not for temporary accounts";
    UserConfigured: Forbidden, "user.configured", "the account comes from the configuration";
    OperationGatewayOnly: Forbidden, "operation.gatewayOnly", "for gateways only";
    OperationUserOnly: Forbidden, "operation.userOnly", "for users only";
    CallerUnknown: Forbidden, "caller.unknown", "the EIM does not know the sender";
    ConferenceNotFound: NotFound, "conference.notFound", "no such conference";
    LinkNotFound: NotFound, "link.notFound", "no such link";
    PasswordNotFound: NotFound, "password.notFound", "no such password";
    CallGatewayNotFound: NotFound, "callgw.notFound", "no such call gateway";
    EimNotFound: NotFound, "eim.notFound", "the EIM knows no such thing";
    CallNotFound: NotFound, "call.notFound", "no such call";
    DepartmentNotFound: NotFound, "department.notFound", "no such department, or nobody in it";
    MemberNotFound: NotFound, "member.notFound", "no such member";
    UserNotFound: NotFound, "user.notFound", "no such user";
    DiscoNodeNotFound: NotFound, "disco.node", "no such node";
    UserTaken: Conflict, "user.taken", "that user id is taken";
    EimConflict: Conflict, "eim.conflict", "it conflicts with what is there";
    CallAnswered: Conflict, "call.answered", "the call was answered";
    NotInCall: Conflict, "call.notIn", "not in that call";
    PasswordTaken: Conflict, "conference.passwordTaken", "another conference has that password";
    PresenceSuperseded: Conflict, "presence.superseded", "a newer socket has taken over";
    NotStarted: NotOpen, "conference.notStarted", "the conference is not open";
    ConferenceEnded: NotOpen, "conference.ended", "the conference is not open";
    ConferenceUnknown: NotOpen, "conference.unknown", "the conference is not open";
    NotOpen: NotOpen, "conference.notOpen", "the conference is not open";
    EimUnreachable: EimUnreachable, "eim.unreachable", "the EIM cannot be reached";
    EimTimeout: EimTimeout, "eim.timeout", "the EIM did not answer in time";
    EimRefused: EimRefused, "eim.refused", "the EIM refused the request";
    EimBadAnswer: EimRefused, "eim.badAnswer", "the EIM refused the request";
    OperationUnknown: EimRefused, "operation.unknown", "the EIM has no such operation";
    ServiceUnknown: EimRefused, "service.unknown", "the EIM has no such service";
    AddressUnknown: EimRefused, "address.unknown", "nothing is at that address";
    StanzaNotRead: EimRefused, "stanza.notRead", "larger or deeper than the EIM reads";
    NoCallGateway: NoCallGateway, "callgw.none", "no call gateway is available";
    TooManyRequests: TooMany, "http.tooMany", "too many requests";
    TooManyJoins: TooMany, "entry.tooManyJoins", "too many requests";
    TooManyGuesses: TooMany, "entry.tooManyGuesses", "too many requests";
    EntryBusy: TooMany, "entry.busy", "too many requests";
    TooManyFailures: TooMany, "auth.tooManyFailures", "too many requests";
    LinkFull: TooMany, "link.full", "too many requests";
    TooManyLinks: TooMany, "link.tooMany", "too many requests";
    EimBusy: TooMany, "eim.busy", "too many requests";
    TooManyOfUser: TooMany, "eim.tooManyOfUser", "too many requests";
    EimTooMany: TooMany, "eim.tooMany", "there is no room for more";
    TooManyReports: TooMany, "callgw.tooManyReports", "too many requests";
    GoingAway: TooMany, "node.goingAway", "too many requests";
    TooFast: TooMany, "rpc.tooFast", "too many requests";
    ConferenceTooBusy: TooMany, "conference.tooBusy", "too many requests";
    StoreUnavailable: TooMany, "store.unavailable", "the store can't take it now; ask again later";
    RepliesTooLarge: TooMany, "rpc.repliesTooLarge", "the replies of this batch are too large together";
    TooManyCalls: TooMany, "call.tooMany", "as many calls as there may be";
    TooManyCallees: TooMany, "call.tooManyCallees", "more callees than a call may have";
    TooManyCallsOfUser: TooMany, "call.tooManyOfUser", "as many calls as a user may have";
    ConferenceFull: TooMany, "conference.full", "the conference is full";
    TooManyConferences: TooMany, "conference.tooMany", "as many conferences as there may be";
    TooManyConferencesOfUser: TooMany, "conference.tooManyOfUser", "as many conferences as a user may have";
    TooManyUsers: TooMany, "user.tooMany", "as many users as there may be";
    TooManyNodes: TooMany, "node.tooMany", "as many nodes as there may be";
    AnswerTooLarge: TooMany, "answer.tooLarge", "the answer is too large";
    ParseError: ParseError, "rpc.parseError", "the body is not JSON";
    InvalidRequest: InvalidRequest, "rpc.invalidRequest", "not a request";
    SocketOnly: InvalidRequest, "events.socketOnly", "this method is for the event socket";
    MethodNotFound: MethodNotFound, "rpc.methodNotFound", "no such method";
    InvalidParams: InvalidParams, "rpc.invalidParams", "invalid params";
    ArgumentInvalid: InvalidParams, "argument.invalid", "an argument is not acceptable";
    Internal: Internal, "internal", "internal error";
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    const DOCUMENT: &str = include_str!("../../docs/front-end.md");

    #[test]
    fn each_reason_has_a_key_of_its_own() {
        let keys: HashSet<_> = Reason::ALL.iter().map(|reason| reason.key()).collect();
        assert_eq!(keys.len(), Reason::ALL.len());
    }

    /// The keys of the table's last column, by code.
    fn documented() -> BTreeSet<(i32, &'static str)> {
        let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| -32"));
        let rows =
            rows.filter_map(|row| Some((row.split_once(" |")?, row.trim_end_matches(" |").rsplit_once(" | ")?.1)));
        let code = |digits: &str| format!("-32{digits}").parse().ok();
        let rows = rows.filter_map(|((digits, _), keys)| Some((code(digits)?, keys)));
        rows.flat_map(|(code, keys)| keys.split('`').skip(1).step_by(2).map(move |key| (code, key))).collect()
    }

    #[test]
    fn the_documents_table_of_errors_has_these_keys_and_no_others() {
        let table: BTreeSet<_> = Reason::ALL.iter().map(|reason| (reason.kind().code(), reason.key())).collect();
        assert_eq!(documented(), table);
    }
}
