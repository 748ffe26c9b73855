//! The carrier of a node's media: the SFU in this process, or a media server behind a driver. All take the same
//! commands and send the same notices.

use confgate_sfu::protocol::{Command, Load, Notice};
use tokio::sync::mpsc;

use super::{janus, whip};
use crate::node_protocol::CascadeMethod;

/// A handle to the media, and with it what it says.
pub struct Backend {
    pub(super) media: Media,
    pub(super) notices: mpsc::Receiver<Notice>,
}

pub(super) enum Media {
    Builtin(confgate_sfu::Node),
    Janus(janus::Driver),
    Whip(whip::Driver),
}

impl Backend {
    /// # Errors
    /// An address that the media can't have.
    pub fn builtin(config: confgate_sfu::Config) -> std::io::Result<Self> {
        let (media, notices) = confgate_sfu::Node::start(config)?;
        Ok(Self { media: Media::Builtin(media), notices })
    }

    /// A Janus.
    pub fn janus(reach: janus::JanusServer) -> Self {
        let (media, notices) = janus::Driver::start(reach);
        Self { media: Media::Janus(media), notices }
    }

    /// A server with WHIP and WHEP.
    pub fn whip(reach: whip::WhipServer) -> Self {
        let (media, notices) = whip::Driver::start(reach);
        Self { media: Media::Whip(media), notices }
    }
}

impl Media {
    /// `false`: there is no room for it now.
    pub fn send(&self, command: Command) -> bool {
        match self {
            Self::Builtin(media) => media.send(command).is_ok(),
            Self::Janus(media) => media.send(command).is_ok(),
            Self::Whip(media) => media.send(command).is_ok(),
        }
    }

    /// The method by which it receives streams of other nodes.
    pub fn cascades(&self) -> Option<CascadeMethod> {
        match self {
            Self::Builtin(_) => Some(CascadeMethod::Webrtc),
            Self::Janus(_) => Some(CascadeMethod::Janus),
            Self::Whip(_) => None,
        }
    }

    /// # Errors
    /// Why it can't be used.
    pub fn load(&self) -> Result<Load, String> {
        match self {
            Self::Builtin(media) => Ok(media.load()),
            Self::Janus(media) => media.load(),
            Self::Whip(media) => media.load(),
        }
    }

    pub async fn stop(self) {
        match self {
            Self::Builtin(media) => media.stop().await,
            Self::Janus(media) => media.stop().await,
            Self::Whip(media) => media.stop().await,
        }
    }
}
