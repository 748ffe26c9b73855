//! The kind of a refusal, and the JSON-RPC error code that stands for it.

/// Each has exactly one stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Kind {
    /// The body is no JSON.
    ParseError = -32700,
    /// No JSON-RPC request.
    InvalidRequest = -32600,
    /// No such method.
    MethodNotFound = -32601,
    /// Params that don't fit.
    InvalidParams = -32602,
    /// A fault of the gateway.
    Internal = -32603,
    /// No valid login.
    Unauthenticated = -32001,
    /// The access token is over.
    TokenExpired = -32002,
    /// Not allowed.
    Forbidden = -32003,
    /// Nothing of that name.
    NotFound = -32004,
    /// The state doesn't allow it.
    Conflict = -32005,
    /// The conference isn't open.
    NotOpen = -32006,
    /// The EIM can't be reached.
    EimUnreachable = -32010,
    /// The EIM doesn't answer in time.
    EimTimeout = -32011,
    /// The EIM refuses.
    EimRefused = -32012,
    /// No call gateway can be used.
    NoCallGateway = -32020,
    /// A bound is reached: later.
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

    /// The kind of that error code.
    pub fn of_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}
