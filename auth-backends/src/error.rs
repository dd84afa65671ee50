//! What can be wrong with the configuration of a backend, or with an answer of somebody who was asked.

/// An error of a backend. None of its texts holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be used.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// What an option says cannot be.
    #[error("{option} {problem}")]
    Option {
        /// The option's key.
        option: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Somebody could not be asked, or has not answered in time.
    #[error("{url}: {problem}")]
    Unreachable {
        /// Who, without what was asked.
        url: String,
        /// What has happened.
        problem: String,
    },
    /// An answer with a status that is none of success.
    #[error("{url}: status {status}")]
    Status {
        /// Who.
        url: String,
        /// The status.
        status: u16,
    },
    /// An answer that is not what was asked for.
    #[error("{url}: {problem}")]
    Answer {
        /// Who.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
}
