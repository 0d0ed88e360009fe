//! What a running cluster is told to suffer, and asked about its cloud: one line of JSON on a socket in its
//! directory, and one back.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::{UnixListener, UnixStream},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Cluster, ClusterError};

/// Something that only the supervisor can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Order {
    /// Ends the API server as a crash does.
    KillApiServer,
    /// Starts it again.
    StartApiServer,
    /// Ends everything on a node, and terminates its instance.
    KillNode(String),
    /// Tells the ENIs of the cloud.
    TellEnis,
}

/// An ENI as the cloud has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudEni {
    /// Its id.
    pub id: String,
    /// The instance that has it.
    pub instance: Option<String>,
    /// Whether it is the instance's own.
    pub primary: bool,
    /// Its addresses without its own: those for pods.
    pub addresses: Vec<std::net::IpAddr>,
}

/// What became of an order.
type Answer = Result<Value, String>;

impl Cluster {
    /// Ends the API server as a crash does; returns when it has ended.
    pub fn kill_api_server(&self) -> Result<(), ClusterError> {
        self.order(Order::KillApiServer)
    }

    /// Starts the API server again; returns when it serves.
    pub fn start_api_server(&self) -> Result<(), ClusterError> {
        self.order(Order::StartApiServer)
    }

    /// Ends everything on a node at once, and terminates its instance in the cloud; its objects stay.
    pub fn kill_node(&self, name: &str) -> Result<(), ClusterError> {
        self.order(Order::KillNode(name.to_owned()))
    }

    /// The ENIs of the cloud, in order of their ids.
    pub fn enis(&self) -> Result<Vec<CloudEni>, ClusterError> {
        self.order(Order::TellEnis)
    }

    fn order<T: DeserializeOwned>(&self, order: Order) -> Result<T, ClusterError> {
        let ask = || -> io::Result<Answer> {
            let mut stream = UnixStream::connect(self.state().orders())?;
            writeln!(stream, "{}", serde_json::to_string(&order)?)?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line)?;
            Ok(serde_json::from_str(&line)?)
        };
        ask()
            .and_then(|answer| Ok(serde_json::from_value(answer.map_err(io::Error::other)?)?))
            .map_err(ClusterError::machine(format!("{order:?}")))
    }
}

/// Carries out orders, one after the other, as long as this process lives.
pub(super) fn serve(
    listener: &UnixListener,
    mut carry_out: impl FnMut(Order) -> Result<Value, ClusterError>,
) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        let mut answer = |mut stream: UnixStream| -> io::Result<()> {
            let mut line = String::new();
            BufReader::new(stream.try_clone()?).read_line(&mut line)?;
            let answer: Answer = match serde_json::from_str(&line) {
                Ok(order) => carry_out(order).map_err(|error| error.to_string()),
                Err(error) => Err(format!("{line:?} is no order: {error}")),
            };
            writeln!(stream, "{}", serde_json::to_string(&answer)?)
        };
        // Who asked may be gone, and others may ask.
        if let Err(error) = answer(stream) {
            eprintln!("an order was not answered: {error}");
        }
    }
}
