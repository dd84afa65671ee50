//! Which objects have traffic: the sampler looks at those alone.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;

use super::history::RATE_SECONDS;

/// Something whose counts are sampled once a second while it has traffic.
pub(crate) trait Sampled {
    /// Whether it is on the list already.
    fn listed(&self) -> &Listed;

    /// Notes what its counts are in this second; says whether they have changed.
    fn sample(&self, second: u32) -> bool;

    /// Forgets what is too old to be told; says whether anything is left.
    fn forget(&self, second: u32) -> bool;
}

/// Whether an object is on the list of those with traffic.
#[derive(Debug, Default)]
pub struct Listed(AtomicBool);

impl Listed {
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Says whether it was not before.
    fn set(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// An object on the list, and for how many seconds its counts have not changed.
struct Item<T> {
    object: Arc<T>,
    quiet: u32,
}

/// Seconds between two looks at what has no traffic any more but still has a past.
const TIDY_SECONDS: u32 = 300;

/// The list of the objects of one kind that have traffic.
pub(crate) struct Watched<T> {
    noted: Mutex<Vec<Arc<T>>>,
    items: Mutex<Items<T>>,
}

struct Items<T> {
    busy: Vec<Item<T>>,
    /// Those without traffic that still remember some.
    resting: Vec<Weak<T>>,
}

impl<T> Default for Watched<T> {
    fn default() -> Self {
        Self {
            noted: Mutex::default(),
            items: Mutex::new(Items {
                busy: Vec::new(),
                resting: Vec::new(),
            }),
        }
    }
}

impl<T: Sampled> Watched<T> {
    /// Puts an object on the list. To be called after its counts have changed and [`Sampled::listed`] is not set.
    #[cold]
    pub(crate) fn note(&self, object: &Arc<T>) {
        if object.listed().set() {
            self.noted.lock().push(Arc::clone(object));
        }
    }

    /// Samples everything on the list, and takes off what has been quiet for as long as a rate is measured.
    pub(crate) fn sample(&self, second: u32) {
        let mut items = self.items.lock();
        let Items { busy, resting } = &mut *items;
        let noted = std::mem::take(&mut *self.noted.lock());
        busy.extend(noted.into_iter().map(|object| Item { object, quiet: 0 }));
        busy.retain_mut(|item| {
            let stays = item.look(second);
            // What has ended, and is known here alone, has no past to tell of; to rest would keep its memory.
            let ended = Arc::strong_count(&item.object) == 1;
            if !stays && !ended && !item.object.listed().is_set() {
                resting.push(Arc::downgrade(&item.object));
            }
            stays
        });
        busy.shrink_to(busy.len() * 4 + 64);
        if second.is_multiple_of(TIDY_SECONDS) {
            resting.retain(|object| {
                let object = object.upgrade();
                object.is_some_and(|it| !it.listed().is_set() && it.forget(second))
            });
            resting.shrink_to_fit();
        }
    }
}

impl<T: Sampled> Item<T> {
    /// Samples the object; says whether it stays on the list.
    fn look(&mut self, second: u32) -> bool {
        let changed = self.object.sample(second);
        let was_taken_off = self.quiet > RATE_SECONDS;
        self.quiet = if changed { 0 } else { self.quiet + 1 };
        if was_taken_off {
            // Somebody counted just before it was taken off, and saw it on the list.
            return changed && self.object.listed().set();
        }
        if self.quiet > RATE_SECONDS {
            // From now on whoever counts puts it on the list again. It is looked at once more.
            self.object.listed().0.store(false, Ordering::Release);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn what_has_ended_is_let_go_and_what_has_not_rests() {
        let watched = Watched::default();
        let (here, gone) = (Arc::new(Object::default()), Arc::new(Object::default()));
        watched.note(&here);
        watched.note(&gone);
        drop(gone);
        (1..TIDY_SECONDS).for_each(|second| watched.sample(second));
        let items = watched.items.lock();
        assert!(items.busy.is_empty());
        assert_eq!(items.resting.len(), 1);
    }

    #[derive(Default)]
    struct Object {
        listed: Listed,
        changes: AtomicU64,
        looks: AtomicU64,
    }

    impl Sampled for Object {
        fn listed(&self) -> &Listed {
            &self.listed
        }

        fn sample(&self, _: u32) -> bool {
            self.looks.fetch_add(1, Ordering::Relaxed);
            self.changes.swap(0, Ordering::Relaxed) > 0
        }

        fn forget(&self, _: u32) -> bool {
            false
        }
    }

    #[test]
    fn an_object_is_looked_at_until_it_is_quiet_and_again_when_it_has_traffic() {
        let (watched, object) = (Watched::default(), Arc::new(Object::default()));
        for round in 1..=2 {
            object.changes.store(1, Ordering::Relaxed);
            watched.note(&object);
            watched.note(&object);
            for second in 0..20 {
                watched.sample(second + 1);
            }
            assert!(!object.listed.is_set());
            // Once with the change, six times until it is off the list, and once more.
            assert_eq!(object.looks.load(Ordering::Relaxed), round * 8);
        }
    }

    #[test]
    fn an_object_that_counted_while_it_was_taken_off_stays() {
        let (watched, object) = (Watched::default(), Arc::new(Object::default()));
        object.changes.store(1, Ordering::Relaxed);
        watched.note(&object);
        for second in 0..7 {
            watched.sample(second);
        }
        assert!(!object.listed.is_set());
        object.changes.store(1, Ordering::Relaxed);
        watched.sample(8);
        assert!(object.listed.is_set());
        watched.note(&object);
        let looks = object.looks.load(Ordering::Relaxed);
        watched.sample(9);
        assert_eq!(object.looks.load(Ordering::Relaxed), looks + 1, "only once");
    }
}
