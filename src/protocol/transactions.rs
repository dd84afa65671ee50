//! Transaction mode of a channel (AMQP 0-9-1, 1.9; <https://www.rabbitmq.com/docs/semantics#tx>).
//!
//! Publishes and answers are gathered and carried out together by `tx.commit`; `commit-ok` is sent once they are on disk.

use std::sync::Arc;

use amqp_codec::{
    AMQPClass,
    protocol::tx::{self, AMQPMethod},
};
use broker_core::{
    message::Message,
    vhost::{Outcome, Route, Transaction},
};

use super::{
    batch::Batch,
    channel::{Channel, Handled},
    exception::{Exception, MethodId},
    session::Session,
    unacked::Unacked,
};

/// What a channel did since the last commit.
#[derive(Debug, Default)]
pub struct Pending {
    /// Publishes and where they go.
    pub publishes: Vec<(Message, Arc<Route>)>,
    /// Direct replies.
    pub replies: Vec<Message>,
    /// Mandatory publishes that go nowhere: returned by the commit, forgotten by a rollback.
    pub unroutable: Vec<Message>,
    /// Answers to deliveries, by delivery tag.
    pub answers: Vec<(u64, Outcome, Unacked)>,
}

impl Channel {
    pub(super) fn select_transactions(
        &mut self,
        id: MethodId,
        session: &Session,
        batch: &mut Batch,
    ) -> Handled {
        if self.confirms.is_some() {
            let text = "cannot switch from confirm to tx mode";
            return Err(Exception::precondition_failed(text, id));
        }
        self.transaction.get_or_insert_default();
        self.show_mode();
        self.answer_tx(AMQPMethod::SelectOk(tx::SelectOk {}), session, batch);
        Ok(())
    }

    /// Keeps an answer for the commit. The delivery tag is used up at once, as in RabbitMQ.
    pub(super) fn settle_later(
        &mut self,
        tag: u64,
        multiple: bool,
        outcome: Outcome,
        id: MethodId,
    ) -> Handled {
        let tags = self.tags_up_to(tag, multiple);
        let taken = self.take(tag, multiple, id)?;
        if let Some(pending) = &mut self.transaction {
            let answers = tags.into_iter().zip(taken);
            pending
                .answers
                .extend(answers.map(|(tag, unacked)| (tag, outcome, unacked)));
        }
        self.show_mode();
        Ok(())
    }

    fn tags_up_to(&self, tag: u64, multiple: bool) -> Vec<u64> {
        match multiple {
            true => self.unackeds.tags_up_to(tag),
            false => vec![tag],
        }
    }

    pub(super) fn commit(
        &mut self,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        let pending = self.pending(id)?;
        if Transaction::would_be_refused(&pending.publishes) {
            // RabbitMQ's text, though here nothing was completed: closing the channel rolls back.
            return Err(Exception::precondition_failed("partial tx completion", id));
        }
        let pending = std::mem::take(pending);
        self.show_mode();
        for (_, route) in &pending.publishes {
            session.count_routed(route, 1);
        }
        let acks = pending.answers.iter();
        let acks = acks.filter(|(_, outcome, _)| *outcome == Outcome::Acknowledged);
        self.count_acks(acks.count() as u64);
        for reply in pending.replies {
            // Whoever asked may be gone by now; then nobody misses the answer.
            session.vhost.reply(reply);
        }
        for message in &pending.unroutable {
            self.return_message(message, 312, "NO_ROUTE", session, batch);
        }
        let mut transaction = Transaction {
            publishes: pending.publishes,
            settlements: Vec::with_capacity(pending.answers.len()),
        };
        for (_, outcome, unacked) in pending.answers {
            let key = unacked.subscription;
            transaction
                .settlements
                .extend(Self::settlement(unacked, outcome, session));
            session.answered(key, 1);
        }
        let before = std::mem::take(&mut batch.work.ticket);
        let vhost = Arc::clone(&session.vhost);
        vhost.commit(transaction, batch.now, &mut batch.work);
        vhost.bury_for_sure(batch.now, &mut batch.work);
        if self.credit.limited() {
            self.revive_consumers(session, batch);
        }
        session.await_messages(std::mem::replace(&mut batch.work.ticket, before));
        self.answer_tx(AMQPMethod::CommitOk(tx::CommitOk {}), session, batch);
        Ok(())
    }

    /// `tx.rollback`: publishes are forgotten, and deliveries that were answered wait for an answer again.
    pub(super) fn rollback(
        &mut self,
        id: MethodId,
        session: &Session,
        batch: &mut Batch,
    ) -> Handled {
        let pending = std::mem::take(self.pending(id)?);
        let answers = pending.answers.into_iter();
        self.unackeds
            .restore(answers.map(|(tag, _, unacked)| (tag, unacked)));
        self.show_mode();
        self.answer_tx(AMQPMethod::RollbackOk(tx::RollbackOk {}), session, batch);
        Ok(())
    }

    fn pending(&mut self, id: MethodId) -> Result<&mut Pending, Exception> {
        let pending = self.transaction.as_deref_mut();
        pending.ok_or_else(|| Exception::precondition_failed("channel is not transactional", id))
    }

    fn answer_tx(&self, answer: AMQPMethod, session: &Session, batch: &mut Batch) {
        session.send(self.number, AMQPClass::Tx(answer), batch);
    }
}
