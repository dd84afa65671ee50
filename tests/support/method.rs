//! Every AMQP method as a type with its class and method ids, so that a test can say `expect::<queue::DeclareOk>(1)`.

use super::{AMQPClass, access, basic, channel, confirm, connection, exchange, queue, tx};

/// A method of AMQP 0-9-1.
pub trait Method: Sized {
    /// The class id, as `channel.close` and `connection.close` report it.
    const CLASS: u16;
    /// The method id within the class.
    const ID: u16;
    /// What the specification calls it, for messages of failed tests.
    const NAME: &'static str;
    /// As any method.
    fn into_class(self) -> AMQPClass;
    /// Back from any method; `Err` gives back what it is instead.
    fn from_class(class: AMQPClass) -> Result<Self, AMQPClass>;
}

/// Stands where an exception names no method: class 0, method 0.
#[derive(Debug)]
pub struct NoMethod;

impl Method for NoMethod {
    const CLASS: u16 = 0;
    const ID: u16 = 0;
    const NAME: &'static str = "no method";

    fn into_class(self) -> AMQPClass {
        unreachable!("there is nothing to send")
    }

    fn from_class(class: AMQPClass) -> Result<Self, AMQPClass> {
        Err(class)
    }
}

macro_rules! methods {
    ($($variant:ident $module:ident $class:literal { $($method:ident $id:literal),* $(,)? })*) => {$($(
        impl Method for $module::$method {
            const CLASS: u16 = $class;
            const ID: u16 = $id;
            const NAME: &'static str = concat!(stringify!($module), ".", stringify!($method));

            fn into_class(self) -> AMQPClass {
                AMQPClass::$variant($module::AMQPMethod::$method(self))
            }

            fn from_class(class: AMQPClass) -> Result<Self, AMQPClass> {
                match class {
                    AMQPClass::$variant($module::AMQPMethod::$method(method)) => Ok(method),
                    other => Err(other),
                }
            }
        }
    )*)*};
}

methods! {
    Connection connection 10 {
        Start 10, StartOk 11, Secure 20, SecureOk 21, Tune 30, TuneOk 31, Open 40, OpenOk 41, Close 50, CloseOk 51,
        Blocked 60, Unblocked 61, UpdateSecret 70, UpdateSecretOk 71,
    }
    Channel channel 20 { Open 10, OpenOk 11, Flow 20, FlowOk 21, Close 40, CloseOk 41 }
    Access access 30 { Request 10, RequestOk 11 }
    Exchange exchange 40 {
        Declare 10, DeclareOk 11, Delete 20, DeleteOk 21, Bind 30, BindOk 31, Unbind 40, UnbindOk 51,
    }
    Queue queue 50 {
        Declare 10, DeclareOk 11, Bind 20, BindOk 21, Purge 30, PurgeOk 31, Delete 40, DeleteOk 41, Unbind 50,
        UnbindOk 51,
    }
    Basic basic 60 {
        Qos 10, QosOk 11, Consume 20, ConsumeOk 21, Cancel 30, CancelOk 31, Publish 40, Return 50, Deliver 60, Get 70,
        GetOk 71, GetEmpty 72, Ack 80, Reject 90, RecoverAsync 100, Recover 110, RecoverOk 111, Nack 120,
    }
    Confirm confirm 85 { Select 10, SelectOk 11 }
    Tx tx 90 { Select 10, SelectOk 11, Commit 20, CommitOk 21, Rollback 30, RollbackOk 31 }
}
