//! Body frames that are longer than what was read: their parts go to the message as they arrive.
//!
//! Otherwise a frame of 128 KiB, of which reads seldom end where it ends, would be kept and copied until it is whole. Only
//! body frames that have their place are taken like that; all others wait until they are whole, and are judged then.

use amqp_codec::{Error, FRAME_END, FrameKind, parse_body_start};

use super::{Running, Step, channel_mut};
use crate::protocol::{batch::Batch, exception::Exception};

/// Bytes of a payload that have to be there before it is taken in parts.
const WORTH_IT: usize = 1024;

/// As many as are shown of a payload whose frame does not end well, and one more.
const SHOWN: usize = 17;

/// A body frame whose rest has not arrived.
#[derive(Debug)]
pub(super) struct BodyFrame {
    channel: u16,
    /// Bytes of the payload that have not arrived. The end marker follows them.
    left: usize,
    /// How the payload starts.
    start: [u8; SHOWN],
}

impl Running {
    /// Bytes of a frame that is taken in parts that have not arrived, its end marker among them.
    pub fn missing_of_frame(&self) -> usize {
        let open = self.open_frame.as_ref();
        open.map_or(0, |frame| frame.left + 1)
    }

    /// Takes what is there of a frame that is not whole, if it is one to take in parts; says how many bytes.
    #[cold]
    pub(super) fn begin_body_frame(&mut self, input: &[u8]) -> usize {
        let Some(frame) = parse_body_start(input) else {
            return 0;
        };
        let part = frame.payload.get(..frame.size).unwrap_or(frame.payload);
        let channel = channel_mut(&mut self.channels, frame.channel);
        let content = channel.and_then(|channel| channel.content.as_mut());
        let (Some(content), Some(&start)) = (content, part.first_chunk()) else {
            return 0;
        };
        if part.len() < WORTH_IT || !content.takes(frame.size) {
            return 0;
        }
        content.push_part(part);
        self.open_frame = Some(Box::new(BodyFrame {
            channel: frame.channel,
            left: frame.size - part.len(),
            start,
        }));
        input.len() - frame.payload.len() + part.len()
    }

    /// Takes the next part of such a frame.
    ///
    /// # Errors
    /// 501 for a frame without its end marker, and those of the publish that it completes.
    pub(super) fn continue_body_frame(
        &mut self,
        mut frame: Box<BodyFrame>,
        input: &[u8],
        batch: &mut Batch,
    ) -> Result<Step, Exception> {
        let part = input.get(..frame.left).unwrap_or(input);
        // The channel's content is gone if the channel was closed meanwhile.
        let channel = channel_mut(&mut self.channels, frame.channel);
        if let Some(content) = channel.and_then(|channel| channel.content.as_mut()) {
            content.push_part(part);
        }
        frame.left -= part.len();
        let Some(&marker) = input.get(part.len()) else {
            self.open_frame = Some(frame);
            return Ok(Step::Last(part.len()));
        };
        if marker != FRAME_END {
            return Err(Error::bad_end(FrameKind::Body as u8, &frame.start, marker).into());
        }
        let (number, session) = (frame.channel, &mut self.session);
        let handled = match channel_mut(&mut self.channels, number) {
            Some(channel) => channel.publish_content(session, batch),
            None => Ok(()),
        };
        if self.conclude(number, handled, batch)? {
            return Ok(Step::Taken(part.len() + 1));
        }
        self.open_frame = Some(frame);
        Ok(Step::Last(part.len()))
    }
}
