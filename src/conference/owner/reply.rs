//! The place for an answer.

use super::super::core::Failure;
use super::super::numbering::Answer;

type Answered = Box<dyn FnOnce(Result<Answer, Failure>) + Send>;

/// Where an answer goes, once. Dropped without one, it says that it may work later.
pub struct Reply(Option<Answered>);

impl Reply {
    /// Given to whoever answers.
    pub fn new(answered: impl FnOnce(Result<Answer, Failure>) + Send + 'static) -> Self {
        Self(Some(Box::new(answered)))
    }

    /// Answers.
    pub fn send(mut self, answer: Result<Answer, Failure>) {
        if let Some(answered) = self.0.take() {
            answered(answer);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(answered) = self.0.take() {
            answered(Err(Failure::Unreachable));
        }
    }
}
