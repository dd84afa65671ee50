//! Which publishes are not yet confirmed, and when they were sent.

/// A window over the delivery tags of one channel, which count its publishes from 1.
///
/// A broker may confirm one by one and in any order, or many at once; every publish is settled exactly once.
#[derive(Debug)]
pub struct ConfirmWindow {
    /// When the publish with this tag (modulo the size) was sent; 0 when it is settled.
    sent_at: Vec<u64>,
    /// The lowest tag that is not settled.
    lowest: u64,
    /// The tag of the next publish.
    next: u64,
}

impl ConfirmWindow {
    /// A window of at most `size` publishes, at least 1.
    pub fn new(size: usize) -> Self {
        Self {
            sent_at: vec![0; size.max(1)],
            lowest: 1,
            next: 1,
        }
    }

    /// How many more may be published.
    pub fn room(&self) -> usize {
        let open = usize::try_from(self.next - self.lowest).unwrap_or(usize::MAX);
        self.sent_at.len().saturating_sub(open)
    }

    /// Whether everything is settled.
    pub fn is_empty(&self) -> bool {
        self.next == self.lowest
    }

    /// A message was published now (not 0).
    pub fn publish(&mut self, now: u64) {
        let tag = self.next;
        *self.slot(tag) = now;
        self.next += 1;
    }

    /// Settles a tag, or all up to it, and calls `settled` with the sending time of each.
    pub fn settle(&mut self, tag: u64, multiple: bool, mut settled: impl FnMut(u64)) {
        let tag = if multiple && tag == 0 {
            self.next - 1
        } else {
            tag
        };
        if tag >= self.next {
            return;
        }
        let first = if multiple {
            self.lowest
        } else {
            tag.max(self.lowest)
        };
        for tag in first..=tag {
            let sent_at = std::mem::take(self.slot(tag));
            if sent_at != 0 {
                settled(sent_at);
            }
        }
        while self.lowest < self.next && *self.slot(self.lowest) == 0 {
            self.lowest += 1;
        }
    }

    #[allow(
        clippy::indexing_slicing,
        reason = "an index modulo the length, which is not 0"
    )]
    fn slot(&mut self, tag: u64) -> &mut u64 {
        let size = self.sent_at.len();
        &mut self.sent_at[(tag % size as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(window: &mut ConfirmWindow, tag: u64, multiple: bool) -> Vec<u64> {
        let mut times = Vec::new();
        window.settle(tag, multiple, |time| times.push(time));
        times
    }

    #[test]
    fn confirms_in_any_order_settle_each_publish_once() {
        let mut window = ConfirmWindow::new(4);
        (11..15).for_each(|now| window.publish(now));
        assert_eq!(window.room(), 0);
        assert_eq!(settle(&mut window, 3, false), [13]);
        assert_eq!(window.room(), 0, "tags 1 and 2 still hold the window");
        assert_eq!(settle(&mut window, 3, true), [11, 12]);
        assert_eq!(window.room(), 3);
        window.publish(15);
        assert_eq!(settle(&mut window, 5, true), [14, 15]);
        assert!(window.is_empty());
    }

    #[test]
    fn confirms_of_the_settled_and_of_the_unsent_are_ignored() {
        let mut window = ConfirmWindow::new(2);
        window.publish(1);
        assert_eq!(settle(&mut window, 1, false), [1]);
        assert_eq!(settle(&mut window, 1, false), [0; 0]);
        assert_eq!(settle(&mut window, 99, true), [0; 0]);
        assert_eq!(window.room(), 2);
    }
}
