//! How the index and the manifest exchange what they know: segments that were written or read, and what changed since.

use std::collections::BTreeMap;

use super::{
    index::{Index, SharedBody},
    live::Live,
    manifest::Edit,
    run::{Place, Run},
    segment::Segment,
};
use crate::store::{Position, QueueId};

impl Index {
    /// Puts a new segment in the place of the files that its messages were moved from, and returns it with what died
    /// meanwhile taken out.
    pub(super) fn install(&mut self, segment: Segment, places: &[Place]) -> Segment {
        let place = Place::Segment(segment.number);
        self.add_file(&segment);
        for block in &segment.bodies {
            if let Some(body) = self.bodies.get_mut(&block.first) {
                (body.place, body.block) = (place, *block);
            }
        }
        let mut queues: Vec<QueueId> = segment.runs.iter().map(|(queue, _)| *queue).collect();
        queues.dedup();
        let mut old: BTreeMap<QueueId, Vec<Run>> = BTreeMap::new();
        for queue in queues {
            let taken = places
                .iter()
                .flat_map(|place| self.take_runs(queue, *place));
            old.insert(queue, taken.collect());
        }
        let mut runs = Vec::with_capacity(segment.runs.len());
        for (queue, mut run) in segment.runs {
            let old = old.get(&queue).map(Vec::as_slice).unwrap_or_default();
            keep_live(&mut run, old);
            self.release_copied(&run, old);
            if run.count > 0 {
                self.add_run(queue, run.clone());
                runs.push((queue, run));
            }
        }
        if runs.is_empty() {
            self.died = true;
        }
        Segment { runs, ..segment }
    }

    /// Lets go of shared bodies of which the messages of `run` have copies now.
    fn release_copied(&mut self, run: &Run, old: &[Run]) {
        for (position, id) in old.iter().flat_map(|run| run.references.iter()) {
            if run.contains(*position) && run.reference(*position).is_none() {
                self.release(*id);
            }
        }
    }

    fn add_file(&mut self, segment: &Segment) {
        let file = self
            .files
            .entry(Place::Segment(segment.number))
            .or_default();
        file.length = segment.length;
        file.bodies = segment.bodies.iter().map(|block| block.first).collect();
        let bodies: u64 = segment
            .bodies
            .iter()
            .map(|block| u64::from(block.length))
            .sum();
        file.live += bodies;
        self.segment_bytes += segment.length;
        self.segment_live += bodies;
    }

    /// Follows an edit of the manifest at start. To be ended with [`Self::count_references`].
    pub(super) fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::LogStart(_) => {}
            Edit::Add(segment) => {
                self.add_file(&segment);
                let place = Place::Segment(segment.number);
                for block in segment.bodies {
                    let body = SharedBody {
                        place,
                        block,
                        references: 0,
                    };
                    self.bodies.insert(block.first, body);
                }
                for (queue, run) in segment.runs {
                    self.add_run(queue, run);
                }
            }
            Edit::Drop(number) => self.drop_segment(Place::Segment(number)),
            Edit::Alive {
                segment,
                queue,
                run,
                count,
                bodies,
                bytes,
                live,
            } => {
                self.edit_run(Place::Segment(segment), queue, run, |run| {
                    (run.count, run.bodies, run.bytes, run.live) = (count, bodies, bytes, live);
                });
            }
            Edit::Counts {
                queue,
                redelivered_to,
                counts,
            } => {
                let state = self.queues.entry(queue).or_default();
                state.redelivered_to = redelivered_to;
                state.counts = counts.into_iter().collect();
            }
            Edit::DropQueue(queue) => {
                self.remove_queue(queue);
            }
        }
    }

    /// Forgets a segment with all that is in it.
    pub(super) fn drop_segment(&mut self, place: Place) {
        self.bodies.retain(|_, body| body.place != place);
        self.remove_file(place);
    }

    fn edit_run(
        &mut self,
        place: Place,
        queue: QueueId,
        number: u32,
        change: impl FnOnce(&mut Run),
    ) {
        let state = self.queues.get_mut(&queue);
        let (Some(file), Some(state)) = (self.files.get_mut(&place), state) else {
            return;
        };
        let runs = &mut state.runs;
        let found = runs
            .iter()
            .position(|run| run.place == place && run.number == number);
        let Some((at, run)) = found.and_then(|at| Some((at, runs.get_mut(at)?))) else {
            return;
        };
        let before = run.bytes;
        change(run);
        let gone = before.saturating_sub(run.bytes);
        file.live = file.live.saturating_sub(gone);
        self.segment_live = self.segment_live.saturating_sub(gone);
        if run.count == 0 {
            runs.remove(at);
            file.runs = file.runs.saturating_sub(1);
        }
    }

    /// Counts who refers to shared bodies, once the whole manifest is read, and forgets the bodies that nobody does.
    pub(super) fn count_references(&mut self) {
        let runs = self.queues.values().flat_map(|state| state.runs.iter());
        for run in runs {
            for (_, id) in run.references.iter().filter(|(p, _)| run.contains(*p)) {
                if let Some(body) = self.bodies.get_mut(id) {
                    body.references += 1;
                }
            }
        }
        let unused: Vec<u64> = self
            .bodies
            .iter()
            .filter(|(_, b)| b.references == 0)
            .map(|(id, _)| *id)
            .collect();
        unused.into_iter().for_each(|id| self.release(id));
        // What the manifest knows is nothing new to it.
        self.dropped.clear();
        self.dead_runs.clear();
    }

    /// Forgets the segments in which nothing is alive, and names them.
    pub(super) fn take_dead_segments(&mut self) -> Vec<u64> {
        if !std::mem::take(&mut self.died) {
            return Vec::new();
        }
        let mut dead = Vec::new();
        for (place, file) in &self.files {
            if let Place::Segment(number) = place
                && file.runs == 0
                && !file
                    .bodies
                    .iter()
                    .any(|id| self.bodies.get(id).is_some_and(|b| b.place == *place))
            {
                dead.push(*number);
            }
        }
        for number in &dead {
            self.remove_file(Place::Segment(*number));
        }
        dead
    }

    /// Adds what changed since the last time to `edits`.
    pub(super) fn take_changes(&mut self, edits: &mut Vec<Edit>) {
        edits.extend(self.dropped.drain(..).map(Edit::DropQueue));
        for (segment, queue, run) in std::mem::take(&mut self.dead_runs) {
            if self.files.contains_key(&Place::Segment(segment)) {
                edits.push(Edit::Alive {
                    segment,
                    queue,
                    run,
                    count: 0,
                    bodies: 0,
                    bytes: 0,
                    live: Live::none(0),
                });
            }
        }
        for (queue, state) in &mut self.queues {
            for run in &mut state.runs {
                if let Place::Segment(segment) = run.place
                    && std::mem::take(&mut run.dirty)
                {
                    edits.push(alive(segment, *queue, run));
                }
            }
            if std::mem::take(&mut state.dirty) {
                edits.push(counts(*queue, state.redelivered_to, &state.counts));
            }
        }
    }

    /// Everything that a manifest has to say.
    pub(super) fn snapshot(&mut self, log_start: u64) -> Vec<Edit> {
        let mut segments: BTreeMap<u64, Segment> = BTreeMap::new();
        for (place, file) in &self.files {
            let Place::Segment(number) = *place else {
                continue;
            };
            let bodies = file.bodies.iter().filter_map(|id| self.bodies.get(id));
            let segment = Segment {
                number,
                length: file.length,
                runs: Vec::new(),
                bodies: bodies
                    .filter(|b| b.place == *place)
                    .map(|b| b.block)
                    .collect(),
            };
            segments.insert(number, segment);
        }
        let mut edits = vec![Edit::LogStart(log_start)];
        for (queue, state) in &mut self.queues {
            for run in &mut state.runs {
                let Place::Segment(number) = run.place else {
                    continue;
                };
                run.dirty = false;
                if let Some(segment) = segments.get_mut(&number) {
                    segment.runs.push((*queue, run.clone()));
                }
            }
            state.dirty = false;
            if state.redelivered_to > 0 || !state.counts.is_empty() {
                edits.push(counts(*queue, state.redelivered_to, &state.counts));
            }
        }
        self.dropped.clear();
        self.dead_runs.clear();
        edits.extend(segments.into_values().map(Edit::Add));
        edits
    }

    /// Whether segments hold so much garbage that some should be written anew.
    pub(super) fn is_sparse(&self, slack: u64) -> bool {
        self.segment_bytes > self.segment_live.saturating_mul(2).saturating_add(slack)
    }
}

fn alive(segment: u64, queue: QueueId, run: &Run) -> Edit {
    Edit::Alive {
        segment,
        queue,
        run: run.number,
        count: run.count,
        bodies: run.bodies,
        bytes: run.bytes,
        live: run.live.clone(),
    }
}

fn counts(queue: QueueId, redelivered_to: Position, counts: &BTreeMap<Position, u32>) -> Edit {
    Edit::Counts {
        queue,
        redelivered_to,
        counts: counts.iter().map(|(p, c)| (*p, *c)).collect(),
    }
}

/// Takes the messages out of a new run that died in the old ones while it was written.
fn keep_live(run: &mut Run, old: &[Run]) {
    let before: u32 = old
        .iter()
        .filter(|o| o.first <= run.last && o.last >= run.first)
        .map(|o| o.count)
        .sum();
    let whole = old
        .iter()
        .all(|o| o.first >= run.first && o.last <= run.last);
    if whole && before == run.count {
        return;
    }
    run.live.make_bits(run.first, run.last);
    let kept = run
        .live
        .retain(|position| old.iter().any(|old| old.contains(position)));
    let died = run.count.saturating_sub(kept);
    run.count = kept;
    run.shrink(died, None);
}
