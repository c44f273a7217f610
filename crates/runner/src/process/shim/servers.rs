//! All connections to servers, and the socket where a restarted server finds this shim.

use std::fs;
use std::io;
use std::os::unix::net::UnixListener;

use super::super::protocol::{Order, Report};
use super::super::record::control_socket;
use super::connection::Connection;

/// More at once are turned away; one server needs one.
const CONNECTIONS_MAX: usize = 16;

/// Whoever listens.
pub struct Servers {
    pub listener: UnixListener,
    pub connections: Vec<Connection>,
    number: u32,
}

impl Servers {
    /// Listens in the working directory; the name is relative because a socket's path is limited to 107 bytes.
    pub fn listen(number: u32, first: Connection) -> io::Result<Servers> {
        let listener = UnixListener::bind(control_socket(number))?;
        listener.set_nonblocking(true)?;
        Ok(Servers { listener, connections: vec![first], number })
    }

    /// Takes in who has come and tells each the present state.
    pub fn accept(&mut self, present: &[Report]) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.connections.len() >= CONNECTIONS_MAX {
                continue;
            }
            let Ok(mut connection) = Connection::new(stream, Vec::new()) else { continue };
            for report in present {
                connection.send(report);
            }
            self.connections.push(connection);
        }
    }

    /// Says something that is said once.
    pub fn send(&mut self, report: &Report) {
        self.connections.iter_mut().for_each(|connection| connection.send(report));
        self.forget_closed();
    }

    /// Says how far the log has grown.
    pub fn hint(&mut self, report: &Report) {
        self.connections.iter_mut().for_each(|connection| connection.hint(report));
        self.forget_closed();
    }

    /// Serves the connections that are ready; gives the orders that have arrived.
    pub fn serve(&mut self, ready: &[bool]) -> Vec<Order> {
        let mut orders = Vec::new();
        for (connection, _) in self.connections.iter_mut().zip(ready).filter(|(_, is_ready)| **is_ready) {
            connection.flush();
            orders.extend(connection.receive());
        }
        self.forget_closed();
        orders
    }

    /// Removes the socket file; nobody can find this shim any more.
    pub fn hide(&self) {
        // The file may be gone together with the directory of the run.
        drop(fs::remove_file(control_socket(self.number)));
    }

    fn forget_closed(&mut self) {
        self.connections.retain(|connection| connection.is_open);
    }
}
