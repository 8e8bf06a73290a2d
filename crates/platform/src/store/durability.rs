//! What an acknowledged change survives.

/// How durable a transaction is once it is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// It survives the end of this server, not that of the machine (SQLite: the operating system has it; PostgreSQL: its
    /// server has it, and writes it within a second). All of it or nothing is kept all the same, and nothing that was
    /// acknowledged as durable before it is lost.
    Os,
    /// It is on the disk.
    #[default]
    Fsync,
}
