//! The kind of a refusal, and the JSON-RPC error code that stands for it.

/// Each has exactly one stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Kind {
    ParseError = -32700,
    InvalidRequest = -32600,
    MethodNotFound = -32601,
    InvalidParams = -32602,
    Internal = -32603,
    Unauthenticated = -32001,
    TokenExpired = -32002,
    Forbidden = -32003,
    NotFound = -32004,
    Conflict = -32005,
    NotOpen = -32006,
    EimUnreachable = -32010,
    EimTimeout = -32011,
    EimRefused = -32012,
    NoCallGateway = -32020,
    TooMany = -32029,
}

impl Kind {
    const ALL: [Self; 16] = [
        Self::ParseError,
        Self::InvalidRequest,
        Self::MethodNotFound,
        Self::InvalidParams,
        Self::Internal,
        Self::Unauthenticated,
        Self::TokenExpired,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::NotOpen,
        Self::EimUnreachable,
        Self::EimTimeout,
        Self::EimRefused,
        Self::NoCallGateway,
        Self::TooMany,
    ];

    /// The JSON-RPC error code.
    pub const fn code(self) -> i32 {
        self as i32
    }

    pub fn of_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}
