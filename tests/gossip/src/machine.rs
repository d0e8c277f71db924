//! What the world knows of a node: packets and time go in, acts come out.

/// One node's state machine. Nodes are numbers, time is microseconds.
pub trait Machine {
    type Packet: Packet;

    fn receive(
        &mut self,
        now: u64,
        from: usize,
        packet: Self::Packet,
        acts: &mut Vec<Act<Self::Packet>>,
    );
    fn kernel_answered(&mut self, now: u64, node: usize, acts: &mut Vec<Act<Self::Packet>>);
    fn wake(&mut self, now: u64, acts: &mut Vec<Act<Self::Packet>>);
    fn wake_at(&self) -> u64;
    /// It has news of itself.
    fn change(&mut self, now: u64, acts: &mut Vec<Act<Self::Packet>>);
}

pub trait Packet {
    fn bytes(&self) -> usize;
    /// Sent over TCP where the protocol has it.
    fn reliable(&self) -> bool {
        false
    }
}

#[derive(Debug)]
pub enum Act<P> {
    Send { to: usize, packet: P },
    AskKernel(usize),
    Tell(Told),
}

/// What a node has come to believe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Suspect(usize),
    Dead(usize),
    Alive(usize),
    Changed(usize),
}
