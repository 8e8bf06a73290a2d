//! The pipe transport: Chrome reads commands from fd 3 and writes replies to fd 4.

use std::io;

use command_fds::{CommandFdExt, FdMapping};
use tokio::{
    net::unix::pipe,
    process::{Child, Command},
};

use crate::{
    connection::{Connection, ConnectionOptions},
    driver::Driver,
};

const COMMANDS_FD: i32 = 3;
const REPLIES_FD: i32 = 4;

/// Our ends of the two pipes to a Chrome. When they close, by a drop or because this process died, Chrome exits.
#[derive(Debug)]
pub struct Pipe {
    commands: pipe::Sender,
    replies: pipe::Receiver,
}

impl Pipe {
    /// Starts a Chrome whose arguments include `--remote-debugging-pipe`, with the pipes in place.
    ///
    /// Takes the command because the child's ends must be closed in this process once the child has them.
    pub fn spawn(mut command: Command) -> io::Result<(Child, Self)> {
        // Both ends are close-on-exec: no other child inherits them and keeps this Chrome alive.
        let (commands_theirs, commands_ours) = io::pipe()?;
        let (replies_ours, replies_theirs) = io::pipe()?;
        command
            .fd_mappings(vec![
                FdMapping { parent_fd: commands_theirs.into(), child_fd: COMMANDS_FD },
                FdMapping { parent_fd: replies_theirs.into(), child_fd: REPLIES_FD },
            ])
            .map_err(io::Error::other)?;
        let child = command.spawn()?;
        let pipe = Self {
            commands: pipe::Sender::from_owned_fd(commands_ours.into())?,
            replies: pipe::Receiver::from_owned_fd(replies_ours.into())?,
        };
        Ok((child, pipe))
    }

    /// A connection over these pipes, and the driver to run.
    pub fn connect(self, options: ConnectionOptions) -> (Connection, Driver) {
        Connection::new(self.replies, self.commands, options)
    }
}
