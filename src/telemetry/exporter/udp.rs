//! OTLP over UDP: packets for the X-Ray daemon, in the format of the AWS Distro for OpenTelemetry.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs, UdpSocket};

use base64_simd::STANDARD;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use crate::telemetry::exporter::queue::SpanQueue;

/// The start of each packet: the daemon's header, `T1` for OpenTelemetry spans, `S` for sampled ones
/// ([ADOT's exporter](https://github.com/aws-observability/aws-otel-python-instrumentation): `otlp_udp_exporter.py`).
pub(super) const PACKET_PREFIX: &[u8] = b"{\"format\":\"json\",\"version\":1}\nT1S";

/// The largest payload of a UDP packet over IPv4.
const PACKET_BYTES_MAX: usize = 65_507;

/// Sends batches to the X-Ray daemon.
pub(super) struct UdpSender(UdpSocket);

impl UdpSender {
    /// A sender to `daemon`, which is `host:port`.
    ///
    /// # Errors
    /// If the name cannot be resolved or no socket is available.
    pub(super) fn new(daemon: &str) -> io::Result<Self> {
        let daemon = daemon.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let any: IpAddr = if daemon.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(daemon)?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Sends one batch in as few packets as possible. Counts spans as dropped in `queue` if they do not fit into a
    /// packet or the socket's buffer is full.
    ///
    /// # Errors
    /// If no process listens on the daemon's port. The rest of the batch is not sent then.
    pub(super) fn send(&self, mut batch: ExportTraceServiceRequest, queue: &SpanQueue) -> Result<(), String> {
        let Self(socket) = self;
        let packet = packet(&batch.encode_to_vec());
        if packet.len() <= PACKET_BYTES_MAX {
            return match socket.send(&packet) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    queue.count_dropped(span_count(&batch));
                    Ok(())
                }
                // The error may belong to an earlier packet, so only a second one counts.
                Err(_) => socket.send(&packet).map(drop).map_err(|error| error.to_string()),
                Ok(_) => Ok(()),
            };
        }
        match split_off_half(&mut batch) {
            None => {
                queue.count_dropped(1);
                Ok(())
            }
            Some(second) => {
                self.send(batch, queue)?;
                self.send(second, queue)
            }
        }
    }
}

fn packet(spans: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(PACKET_PREFIX.len() + STANDARD.encoded_length(spans.len()));
    packet.extend_from_slice(PACKET_PREFIX);
    STANDARD.encode_append(spans, &mut packet);
    packet
}

fn span_count(batch: &ExportTraceServiceRequest) -> usize {
    let scopes = batch.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}

/// Moves the second half of the spans into a batch with the same resource and scope; `None` if there is only one span.
fn split_off_half(batch: &mut ExportTraceServiceRequest) -> Option<ExportTraceServiceRequest> {
    // All spans of this process have one resource and one scope.
    let scope_spans = batch.resource_spans.first_mut()?.scope_spans.first_mut()?;
    if scope_spans.spans.len() < 2 {
        return None;
    }
    let second_half = scope_spans.spans.split_off(scope_spans.spans.len() / 2);
    let first_half = std::mem::replace(&mut scope_spans.spans, second_half);
    let second = batch.clone();
    batch.resource_spans.first_mut()?.scope_spans.first_mut()?.spans = first_half;
    Some(second)
}
