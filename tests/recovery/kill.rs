//! The rounds: clients work, the broker is killed in the middle of it and started again, and every client compares what
//! is there with what it knows.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook},
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    dead_letter::DeadLetter,
    ledger,
    mixed::Mixed,
    mortal_broker_with,
    purge::Purge,
    random,
    support::{AMQPProperties, Broker, Peer},
    transactions::Transactions,
};

/// A client with queues of its own, and what it knows of them.
pub trait Client {
    /// Its queues, in the order of what [`Client::check`] gets.
    fn queues(&self) -> Vec<&'static str>;

    /// Declares them, or finds them declared.
    fn declare(&self, peer: &mut Peer);

    /// Compares what was found in the queues with what can be there.
    fn check(&mut self, found: &[Vec<Found>], round: usize);

    /// How much it has done.
    fn done(&self) -> u64;
}

/// A message that was there after a restart.
pub struct Found {
    /// The body.
    pub body: Vec<u8>,
    /// Flagged as redelivered.
    pub redelivered: bool,
    /// With the header of a dead-lettered message.
    pub died: bool,
}

/// The numbers of a client's messages.
pub fn numbers(client: &str, found: &[Found]) -> Vec<u64> {
    let numbers = found.iter().map(|it| ledger::number(client, &it.body));
    numbers.collect()
}

/// The properties of a persistent message.
pub fn persistent() -> AMQPProperties {
    AMQPProperties::default().with_delivery_mode(2)
}

/// How often the broker is killed: `LEVERET_TEST_KILLS`, or enough to meet what is rare now and then.
fn kills() -> usize {
    let chosen = std::env::var("LEVERET_TEST_KILLS").ok();
    chosen.and_then(|text| text.parse().ok()).unwrap_or(40)
}

/// The lives of a broker in the rounds of a test, of up to so many milliseconds each. Should nothing have happened in that
/// many rounds, because the machine is too busy to get anywhere in that time, then further ones come, ever longer.
pub struct Lives {
    rounds: usize,
    most: u64,
    round: usize,
}

impl Lives {
    /// So many, but for those that come if nothing happens.
    pub fn new(rounds: usize, most: u64) -> Self {
        Self {
            rounds,
            most,
            round: 0,
        }
    }

    /// The number of the next round and how long the broker lives in it; `idle` says that nothing has happened so far.
    pub fn next(&mut self, idle: bool, random: &mut StdRng) -> Option<(usize, Duration)> {
        let round = self.round;
        self.round += 1;
        let late = round.saturating_sub(self.rounds) as u64;
        assert!(
            late < 6,
            "nothing is published, however long the broker lives"
        );
        let most = self.most << late;
        let life = Duration::from_millis(random.random_range(20..most));
        (round < self.rounds || idle).then_some((round, life))
    }
}

/// How long a client of lapin (4.12) may take to notice that the broker is gone. It sometimes leaves a future pending
/// for ever that it was given in the moment in which the connection was lost.
const AFTERMATH: Duration = Duration::from_millis(500);

struct Clients {
    mixed: Mixed,
    dead_letter: DeadLetter,
    by_priority: DeadLetter,
    transactions: Transactions,
    purge: Purge,
}

impl Clients {
    fn new() -> Self {
        Self {
            mixed: Mixed::default(),
            dead_letter: DeadLetter::plain(),
            by_priority: DeadLetter::with_priorities(),
            transactions: Transactions::default(),
            purge: Purge::default(),
        }
    }

    fn all(&mut self) -> [&mut dyn Client; 5] {
        let Self {
            mixed,
            dead_letter,
            by_priority,
            transactions,
            purge,
        } = self;
        [mixed, dead_letter, by_priority, transactions, purge]
    }

    /// Whether one of them has done nothing yet.
    fn are_idle(&mut self) -> bool {
        self.all().iter().any(|client| client.done() == 0)
    }

    /// All of them work until the broker is killed after this time.
    fn work(&mut self, broker: &mut Broker, life: Duration, random: &mut StdRng) {
        let (uri, address) = (broker.amqp_uri(), broker.amqp_address());
        let killed = Arc::new(AtomicBool::new(false));
        let (first, second) = (random.random(), random.random());
        let Self {
            mixed,
            dead_letter,
            by_priority,
            transactions,
            purge,
        } = self;
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut choices = StdRng::seed_from_u64(first);
                until_killed(&killed, || purge.work(address, &mut choices));
            });
            scope.spawn(|| {
                let mut seeds = StdRng::seed_from_u64(second);
                let [mut a, mut b, mut c, mut d] = [(); 4].map(|()| StdRng::from_rng(&mut seeds));
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                let ended = runtime.block_on(async {
                    let work = async {
                        tokio::join!(
                            mixed.work(&uri, &mut a),
                            dead_letter.work(&uri, &mut b),
                            transactions.work(&uri, &mut c),
                            by_priority.work(&uri, &mut d),
                        )
                    };
                    tokio::select! {
                        ended = work => Some(ended),
                        () = aftermath(&killed) => None,
                    }
                });
                assert!(is_set(&killed), "before the kill: {ended:?}");
            });
            thread::sleep(life);
            killed.store(true, Ordering::Release);
            broker.kill();
        });
    }
}

/// Waits until the broker was killed, and then for as long as clients may need to notice.
async fn aftermath(killed: &Arc<AtomicBool>) {
    while !is_set(killed) {
        sleep(Duration::from_millis(10)).await;
    }
    sleep(AFTERMATH).await;
}

thread_local! {
    /// Set on a thread whose panics after the kill are what is expected of it.
    static KILLED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Runs `work`, which ends by a panic when the connection is lost: that is how the scripted peer tells. A panic before
/// the kill is passed on; one after it is not printed.
pub fn until_killed(killed: &Arc<AtomicBool>, work: impl FnOnce()) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = take_hook();
        set_hook(Box::new(move |panic| {
            if !KILLED.with_borrow(|killed| killed.as_ref().is_some_and(is_set)) {
                KILLED.set(None);
                report(panic);
            }
        }));
    });
    KILLED.set(Some(Arc::clone(killed)));
    if let Err(panic) = catch_unwind(AssertUnwindSafe(work))
        && KILLED.take().is_none()
    {
        resume_unwind(panic);
    }
}

fn is_set(killed: &Arc<AtomicBool>) -> bool {
    killed.load(Ordering::Acquire)
}

/// Everything in a queue, which keeps it: the connection ends without acknowledging.
pub fn contents(broker: &Broker, queue: &str) -> Vec<Found> {
    let mut peer = Peer::connect_to(broker);
    let mut found = Vec::new();
    while let Some(got) = peer.get(1, queue, false) {
        let headers = got.properties.headers().as_ref();
        found.push(Found {
            died: headers.is_some_and(|it| it.inner().contains_key("x-death")),
            body: got.body,
            redelivered: got.method.redelivered,
        });
    }
    peer.close();
    found
}

#[test]
fn whatever_clients_do_when_the_broker_is_killed_promises_are_kept() {
    // Little memory and short files, so that messages are paged and moved all the time.
    let options = [
        ("LEVERET_MEMORY_MESSAGE_BUDGET", "262144".to_owned()),
        ("LEVERET_STORE_LOG_FILE_SIZE", "262144".to_owned()),
    ];
    let Some(mut broker) = mortal_broker_with(&options) else {
        return;
    };
    let mut random = random();
    let mut clients = Clients::new();
    declare_all(&broker, &mut clients);
    let mut lives = Lives::new(kills(), 800);
    while let Some((round, life)) = lives.next(clients.are_idle(), &mut random) {
        clients.work(&mut broker, life, &mut random);
        broker.start_again();
        declare_all(&broker, &mut clients);
        for client in clients.all() {
            let queues = client.queues().into_iter();
            let found: Vec<_> = queues.map(|queue| contents(&broker, queue)).collect();
            let flagged = found.iter().flatten().all(|it| it.redelivered);
            assert!(flagged, "round {round}: delivered before, and not flagged");
            client.check(&found, round);
        }
        if round % 7 == 6 {
            broker.restart();
        }
    }
    for client in clients.all() {
        let (queues, done) = (client.queues(), client.done());
        eprintln!("{done} messages of {queues:?}");
    }
}

fn declare_all(broker: &Broker, clients: &mut Clients) {
    let mut peer = Peer::connect_to(broker);
    for client in clients.all() {
        client.declare(&mut peer);
    }
    peer.close();
}
