//! Every reason for which this program refuses a request: its code, its key and its text, once.

use super::code;

macro_rules! reasons {
    ($($name:ident: $code:ident, $key:literal, $text:literal;)*) => {
        /// See the module. What the EIM refuses has the EIM's reason: see [`Refusal::by_eim`](super::Refusal::by_eim).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Reason {
            $(#[doc = $text] $name,)*
        }

        impl Reason {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The JSON-RPC error code.
            pub const fn code(self) -> i32 {
                match self { $(Self::$name => code::$code,)* }
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
    AuthRequired: UNAUTHENTICATED, "auth.required", "a valid access token is required";
    AuthFailed: UNAUTHENTICATED, "auth.failed", "wrong id, password or secret";
    SessionEnded: UNAUTHENTICATED, "auth.ended", "the session has ended: log in again";
    SessionLost: UNAUTHENTICATED, "auth.sessionLost", "the session at the XMPP server is lost: log in again";
    TokenExpired: TOKEN_EXPIRED, "auth.expired", "the access token has expired";
    ScopeMissing: FORBIDDEN, "auth.scopeMissing", "the token lacks the method's scope";
    NotForGuests: FORBIDDEN, "auth.notForGuests", "not for guests";
    NotMember: FORBIDDEN, "conference.notMember", "not a member of that conference";
    ChairOnly: FORBIDDEN, "conference.chairOnly", "for that conference's chair only";
    ConferenceLocked: FORBIDDEN, "conference.locked", "the conference is locked";
    ConferenceBanned: FORBIDDEN, "conference.banned", "sent out of the conference";
    CallHasNoLinks: FORBIDDEN, "conference.ofCall", "a call has no links";
    IqCommandsForbidden: FORBIDDEN, "iq.commandsForbidden", "ad-hoc commands need the scope iq.any";
    IqNamespaceForbidden: FORBIDDEN, "iq.namespaceForbidden", "not a namespace for guests";
    IqDestinationForbidden: FORBIDDEN, "iq.destinationForbidden", "not a destination for guests";
    IqFromForbidden: FORBIDDEN, "iq.fromForbidden", "from is not the caller's own address";
    LinkExpired: FORBIDDEN, "link.expired", "the link has expired";
    LinkRevoked: FORBIDDEN, "link.revoked", "the link has been revoked";
    LinkExhausted: FORBIDDEN, "link.exhausted", "the link has been used as often as it may";
    EimForbidden: FORBIDDEN, "eim.forbidden", "the EIM does not allow it";
    ConferenceNotFound: NOT_FOUND, "conference.notFound", "no such conference";
    LinkNotFound: NOT_FOUND, "link.notFound", "no such link";
    PasswordNotFound: NOT_FOUND, "password.notFound", "no such password";
    MethodNotDescribed: NOT_FOUND, "method.notFound", "no such method";
    CallGatewayNotFound: NOT_FOUND, "callgw.notFound", "no such call gateway";
    EimNotFound: NOT_FOUND, "eim.notFound", "the EIM knows no such thing";
    UserTaken: CONFLICT, "user.taken", "that user id is taken";
    EimConflict: CONFLICT, "eim.conflict", "it conflicts with what is there";
    NotStarted: NOT_OPEN, "conference.notStarted", "the conference is not open";
    ConferenceEnded: NOT_OPEN, "conference.ended", "the conference is not open";
    ConferenceUnknown: NOT_OPEN, "conference.unknown", "the conference is not open";
    NotOpen: NOT_OPEN, "conference.notOpen", "the conference is not open";
    EimUnreachable: EIM_UNREACHABLE, "eim.unreachable", "the EIM cannot be reached";
    EimTimeout: EIM_TIMEOUT, "eim.timeout", "the EIM did not answer in time";
    EimRefused: EIM_REFUSED, "eim.refused", "the EIM refused the request";
    EimBadAnswer: EIM_REFUSED, "eim.badAnswer", "the EIM refused the request";
    NoCallGateway: NO_CALL_GATEWAY, "callgw.none", "no call gateway is available";
    TooManyRequests: TOO_MANY, "http.tooMany", "too many requests";
    TooManyJoins: TOO_MANY, "entry.tooManyJoins", "too many requests";
    TooManyGuesses: TOO_MANY, "entry.tooManyGuesses", "too many requests";
    EntryBusy: TOO_MANY, "entry.busy", "too many requests";
    TooManyFailures: TOO_MANY, "auth.tooManyFailures", "too many requests";
    LinkFull: TOO_MANY, "link.full", "too many requests";
    TooManyLinks: TOO_MANY, "link.tooMany", "too many requests";
    EimBusy: TOO_MANY, "eim.busy", "too many requests";
    TooManyOfUser: TOO_MANY, "eim.tooManyOfUser", "too many requests";
    EimTooMany: TOO_MANY, "eim.tooMany", "there is no room for more";
    TooManyReports: TOO_MANY, "callgw.tooManyReports", "too many requests";
    GoingAway: TOO_MANY, "node.goingAway", "too many requests";
    TooFast: TOO_MANY, "rpc.tooFast", "too many requests";
    ConferenceTooBusy: TOO_MANY, "conference.tooBusy", "too many requests";
    StoreUnavailable: TOO_MANY, "store.unavailable", "the store can't take it now; ask again later";
    RepliesTooLarge: TOO_MANY, "rpc.repliesTooLarge", "the replies of this batch are too large together";
    ParseError: PARSE_ERROR, "rpc.parseError", "the body is not JSON";
    InvalidRequest: INVALID_REQUEST, "rpc.invalidRequest", "not a request";
    SocketOnly: INVALID_REQUEST, "events.socketOnly", "this method is for the event socket";
    MethodNotFound: METHOD_NOT_FOUND, "rpc.methodNotFound", "no such method";
    InvalidParams: INVALID_PARAMS, "rpc.invalidParams", "invalid params";
    Internal: INTERNAL, "internal", "internal error";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const DOCUMENT: &str = include_str!("../../docs/front-end.md");

    #[test]
    fn each_reason_has_a_key_of_its_own() {
        let keys: HashSet<_> = Reason::ALL.iter().map(|reason| reason.key()).collect();
        assert_eq!(keys.len(), Reason::ALL.len());
    }

    #[test]
    fn each_reason_stands_in_the_documents_row_of_its_code() {
        for reason in Reason::ALL {
            let row = format!("| {} |", reason.code());
            let row = DOCUMENT.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("no {row}"));
            assert!(row.contains(&format!("`{}`", reason.key())), "{} is not in {row}", reason.key());
        }
    }
}
