//! Publications leave the worker once their writes are durable, and each once.

use super::super::worker::{Inbound, LinkSender};
use super::*;

/// A worker with one link and a queue of publications.
struct Working {
    inbox: mpsc::Sender<Inbound>,
    batches: mpsc::Receiver<Vec<Stanza>>,
    queue: mpsc::Receiver<Publication>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Working {
    async fn start(disk: &Disk, room: usize) -> Self {
        let settings = Settings { event_delivery: EventDelivery::Publications, ..settings() };
        let eim = Eim::load(settings, disk.documents()).unwrap();
        let (sender, queue) = mpsc::channel(room);
        let publisher = PublisherQueue::new(Some(sender));
        let (worker, inbox) = Worker::new(eim, Routes::ByRecipient, disk.ways(), publisher, TaskTracker::new());
        let stop = CancellationToken::new();
        let running = tokio::spawn(worker.run(stop.clone()));
        let (link_sender, batches) = mpsc::channel(64);
        let link = LinkSender { number: 1, batches: link_sender, cut: CancellationToken::new() };
        assert!(inbox.send(Inbound::Up { domain: CALLERS.into(), link }).await.is_ok());
        Self { inbox, batches, queue, stop, running }
    }

    async fn send_create(&self) {
        let create = request("set", ANN, operation("create").with("name", "Standup"));
        assert!(self.inbox.send(Inbound::Stanza(create)).await.is_ok());
    }

    /// The type of the next answer.
    async fn answer(&mut self) -> String {
        let batch = self.batches.recv().await.unwrap();
        batch[0].attr("type").unwrap().to_owned()
    }

    async fn create(&mut self) -> String {
        self.send_create().await;
        self.answer().await
    }

    /// Numbers of the next two publications: those of one creation.
    async fn two(&mut self) -> [u64; 2] {
        [self.queue.recv().await.unwrap().number, self.queue.recv().await.unwrap().number]
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_published_before_it_is_kept() {
    let disk = Disk::new();
    let mut working = Working::start(&disk, 10).await;
    disk.held.send_replace(true);
    working.send_create().await;
    disk.begun.notified().await;
    assert!(working.queue.try_recv().is_err());
    disk.held.send_replace(false);
    assert_eq!(working.two().await, [1, 2]);
    working.stop().await;
}

#[tokio::test]
async fn undone_changes_are_not_published_and_earlier_ones_not_again() {
    let disk = Disk::new();
    let mut working = Working::start(&disk, 10).await;
    assert_eq!(working.create().await, "result");
    assert_eq!(working.two().await, [1, 2]);
    disk.broken.store(1000, Ordering::SeqCst);
    assert_eq!(working.create().await, "error");
    disk.broken.store(0, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(working.create().await, "result");
    assert_eq!(working.two().await, [5, 6]);
    assert!(working.queue.try_recv().is_err());
    working.stop().await;
}

#[tokio::test]
async fn a_change_that_is_kept_though_the_store_reports_a_failure_is_published() {
    let disk = Disk::new();
    let mut working = Working::start(&disk, 10).await;
    disk.misreports.store(true, Ordering::SeqCst);
    assert_eq!(working.create().await, "error");
    assert_eq!(working.two().await, [1, 2]);
    working.stop().await;
}

#[tokio::test]
async fn unconfirmed_publications_leave_first_after_a_restart() {
    let disk = Disk::new();
    let mut working = Working::start(&disk, 10).await;
    assert_eq!(working.create().await, "result");
    working.stop().await;
    let mut working = Working::start(&disk, 10).await;
    assert_eq!(working.create().await, "result");
    assert_eq!([working.two().await, working.two().await], [[1, 2], [3, 4]]);
    working.stop().await;
}

#[tokio::test]
async fn changes_are_refused_while_too_much_waits_for_the_broker() {
    let disk = Disk::new();
    let mut working = Working::start(&disk, 1).await;
    assert_eq!(working.create().await, "result");
    assert_eq!(working.create().await, "error");
    assert_eq!(working.two().await, [1, 2]);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(working.create().await, "result");
    assert_eq!(working.two().await, [3, 4]);
    working.stop().await;
}

#[tokio::test]
async fn publications_that_nobody_wants_any_more_are_deleted() {
    let disk = Disk::new();
    let mut working = Working::start(&disk, 10).await;
    assert_eq!(working.create().await, "result");
    working.stop().await;
    let kinds = |disk: &Disk| disk.documents().iter().filter(|(kind, ..)| kind == "outbox").count();
    assert_eq!(kinds(&disk), 2);
    let served = Served::start(&disk);
    let mut callers = served.component(CALLERS).await;
    create(&mut callers, &[]).await;
    assert_eq!(kinds(&disk), 0);
    served.stop().await;
}
