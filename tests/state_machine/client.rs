//! What a client can say of the bytes that it got: that they are frames, and that they come in an order that the
//! specification allows. Everything received is noted as one short line.

use std::collections::HashMap;

use amqp_codec::{
    AMQPClass, FrameKind, Method, parse_content_header, parse_frame, parse_method,
    protocol::{basic, channel, connection},
};

/// A client's view of one connection.
#[derive(Default)]
pub struct Client {
    channels: HashMap<u16, Open>,
    /// The content that has to come next: its channel, the line of its method, and what it lacks.
    content: Option<Content>,
    closed: bool,
    lines: Vec<String>,
}

/// A channel that the broker has opened.
#[derive(Default)]
struct Open {
    last_delivery: u64,
    last_confirm: u64,
}

struct Content {
    channel: u16,
    line: String,
    /// Bytes of the body that are still to come; none before the header.
    missing: Option<u64>,
    body: Vec<u8>,
}

impl Client {
    /// Takes what arrived.
    ///
    /// # Panics
    /// When no client could understand it.
    pub fn receive(&mut self, bytes: &[u8]) {
        if bytes == amqp_codec::PROTOCOL_HEADER {
            self.lines.push("protocol header".to_owned());
            return;
        }
        let mut rest = bytes;
        while let Some((frame, used)) = parse_frame(rest, 131_072).expect("the broker sends frames")
        {
            assert!(!self.closed, "a frame after connection.close-ok");
            rest = &rest[used..];
            match frame.kind {
                FrameKind::Heartbeat => self.lines.push("heartbeat".to_owned()),
                FrameKind::Method => {
                    assert!(self.content.is_none(), "a method inside a content");
                    let method = parse_method(frame.payload).expect("the broker sends methods");
                    self.method(frame.channel, &method);
                }
                FrameKind::Header | FrameKind::Body => {
                    self.content(frame.channel, frame.kind, frame.payload);
                }
            }
        }
        assert!(rest.is_empty(), "half a frame was written");
    }

    /// Takes the lines noted so far.
    pub fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    fn content(&mut self, channel: u16, kind: FrameKind, payload: &[u8]) {
        let mut content = self.content.take().expect("content without its method");
        assert_eq!(content.channel, channel, "content of another channel");
        let missing = match content.missing {
            None => {
                assert_eq!(kind, FrameKind::Header, "a body without its header");
                parse_content_header(payload)
                    .expect("a content header")
                    .body_size
            }
            Some(missing) => {
                assert_eq!(kind, FrameKind::Body, "a second header");
                content.body.extend_from_slice(payload);
                missing
                    .checked_sub(payload.len() as u64)
                    .expect("more body than announced")
            }
        };
        content.missing = Some(missing);
        if missing > 0 {
            self.content = Some(content);
            return;
        }
        let body = String::from_utf8_lossy(&content.body);
        self.lines.push(format!("{} {body:?}", content.line));
    }

    fn method(&mut self, number: u16, method: &Method<'_>) {
        let mut line = format!("{number} {}", describe(method));
        match method {
            Method::Other(AMQPClass::Connection(method)) => {
                assert_eq!(number, 0, "connection methods belong to channel 0");
                self.closed |= matches!(method, connection::AMQPMethod::CloseOk(_));
            }
            Method::Other(AMQPClass::Channel(method)) => self.channel_method(number, method),
            _ => {
                let channel = self.channels.get_mut(&number);
                let channel = channel.expect("a method on a channel that is not open");
                channel.check(method);
            }
        }
        let content = matches!(
            method,
            Method::Deliver(_)
                | Method::GetOk(_)
                | Method::Other(AMQPClass::Basic(basic::AMQPMethod::Return(_)))
        );
        if content {
            self.content = Some(Content {
                channel: number,
                line: std::mem::take(&mut line),
                missing: None,
                body: Vec::new(),
            });
        } else {
            self.lines.push(line);
        }
    }

    fn channel_method(&mut self, number: u16, method: &channel::AMQPMethod) {
        match method {
            channel::AMQPMethod::OpenOk(_) => {
                let before = self.channels.insert(number, Open::default());
                assert!(before.is_none(), "a channel was opened twice");
            }
            channel::AMQPMethod::Close(_) => {
                let open = self.channels.remove(&number);
                assert!(open.is_some(), "a channel was closed that is not open");
            }
            channel::AMQPMethod::CloseOk(_) => {
                self.channels.remove(&number);
            }
            _ => assert!(self.channels.contains_key(&number), "no such channel"),
        }
    }
}

impl Open {
    fn check(&mut self, method: &Method<'_>) {
        let delivered = match method {
            Method::Deliver(deliver) => Some(deliver.delivery_tag),
            Method::GetOk(got) => Some(got.delivery_tag),
            _ => None,
        };
        if let Some(tag) = delivered {
            assert_eq!(tag, self.last_delivery + 1, "delivery tags are consecutive");
            self.last_delivery = tag;
        }
        let confirmed = match method {
            Method::Ack(ack) => Some(ack.delivery_tag),
            Method::Nack(nack) => Some(nack.delivery_tag),
            _ => None,
        };
        if let Some(tag) = confirmed {
            assert!(tag > self.last_confirm, "confirms come in order, each once");
            self.last_confirm = tag;
        }
    }
}

fn describe(method: &Method<'_>) -> String {
    let multiple = |multiple: bool| if multiple { " multiple" } else { "" };
    match method {
        Method::Ack(m) => format!("ack {}{}", m.delivery_tag, multiple(m.multiple)),
        Method::Nack(m) => format!("nack {}{}", m.delivery_tag, multiple(m.multiple)),
        Method::Deliver(m) => {
            let again = if m.redelivered { " redelivered" } else { "" };
            format!("deliver {} {}{again}", m.consumer_tag, m.delivery_tag)
        }
        Method::GetOk(m) => {
            let again = if m.redelivered { " redelivered" } else { "" };
            format!("get-ok {}{again}", m.delivery_tag)
        }
        Method::Other(AMQPClass::Connection(connection::AMQPMethod::Close(m))) => {
            format!("connection.close {}", m.reply_text)
        }
        Method::Other(AMQPClass::Connection(connection::AMQPMethod::Blocked(m))) => {
            format!("connection.blocked {}", m.reason)
        }
        Method::Other(AMQPClass::Channel(channel::AMQPMethod::Close(m))) => {
            format!("channel.close {}", m.reply_text)
        }
        Method::Other(AMQPClass::Basic(basic::AMQPMethod::Return(m))) => {
            format!("return {}", m.reply_text)
        }
        other => name(&format!("{other:?}")),
    }
}

/// `Other(Queue(DeclareOk(DeclareOk { .. })))` as `queue.declare-ok`.
fn name(debug: &str) -> String {
    let mut words = debug.split('(').skip(1);
    let class = words.next().unwrap_or_default().to_lowercase();
    let mut name = String::new();
    for letter in words.next().unwrap_or_default().chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.extend(letter.to_lowercase());
    }
    format!("{class}.{name}")
}
