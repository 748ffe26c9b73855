//! Between a viewer's browser and the node: what comes late on the way, or is lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// The delivery of one of the node's packets.
pub enum Delivery {
    Arrives,
    Late(Duration),
    Lost,
}

/// RTP, as it can be read by anybody (RFC 3711: its header isn't encrypted).
pub struct Rtp {
    pub payload_type: u8,
    pub number: u16,
}

pub struct LossyPath {
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for LossyPath {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl LossyPath {
    /// `fate`: of the node's RTP packets; all else arrives.
    async fn to(node: SocketAddr, mut fate: impl FnMut(Rtp) -> Delivery + Send + 'static) -> Self {
        let [front, back] =
            [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
        let address = front.local_addr().unwrap();
        let (front, back) = (Arc::new(front), Arc::new(back));
        let (seen, client) = tokio::sync::watch::channel(None);
        let towards_node = {
            let (front, back) = (Arc::clone(&front), Arc::clone(&back));
            async move {
                let mut buffer = [0; 2048];
                while let Ok((length, from)) = front.recv_from(&mut buffer).await {
                    seen.send_replace(Some(from));
                    back.send_to(&buffer[..length], node).await.ok();
                }
            }
        };
        let towards_client = async move {
            let mut buffer = [0; 2048];
            while let Ok((length, _)) = back.recv_from(&mut buffer).await {
                let Some(client): Option<SocketAddr> = *client.borrow() else { continue };
                let packet = buffer[..length].to_vec();
                let front = Arc::clone(&front);
                match read(&packet).map_or(Delivery::Arrives, &mut fate) {
                    Delivery::Arrives => drop(front.send_to(&packet, client).await),
                    Delivery::Late(delay) => drop(tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        front.send_to(&packet, client).await.ok();
                    })),
                    Delivery::Lost => {}
                }
            }
        };
        Self { address, tasks: [tokio::spawn(towards_node), tokio::spawn(towards_client)] }
    }

    /// The way for the answer's connection, and the answer with the way's address for the node's.
    pub async fn of(answer: &str, fate: impl FnMut(Rtp) -> Delivery + Send + 'static) -> (Self, String) {
        let candidates = answer.lines().filter(|line| line.starts_with("a=candidate:"));
        let mut udp = candidates.filter(|line| line.contains(" udp ") && line.contains(" 127.0.0.1 "));
        let udp = udp.next().expect("a candidate at loopback");
        let port = udp.split(' ').nth(5).and_then(|port| port.parse().ok()).expect("it has a port");
        let way = Self::to(SocketAddr::from(([127, 0, 0, 1], port)), fate).await;
        let mut line = format!("a=candidate:1 1 udp 2130706431 127.0.0.1 {} typ host\r\n", way.address.port());
        let lines = answer.lines().map(|text| match text.starts_with("a=candidate:") {
            true => std::mem::take(&mut line),
            false => format!("{text}\r\n"),
        });
        let answer = lines.collect();
        (way, answer)
    }
}

/// RFC 7983, RFC 5761: RTP, not RTCP.
fn read(packet: &[u8]) -> Option<Rtp> {
    let [first, second, high, low, ..] = *packet else { return None };
    let is_rtp = (128..=191).contains(&first) && !(192..=223).contains(&second);
    is_rtp.then(|| Rtp { payload_type: second & 0x7f, number: u16::from_be_bytes([high, low]) })
}

/// The payload types of the answer's section of that kind.
pub fn payload_types(answer: &str, kind: &str) -> Vec<u8> {
    let section = answer.lines().find(|line| line.starts_with(&format!("m={kind} "))).expect("it has that section");
    section.split(' ').skip(3).filter_map(|pt| pt.trim().parse().ok()).collect()
}
