//! Follows interfaces and neighbours as they change, by rtnetlink's multicast groups.
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::neighbour::{NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::MulticastGroup;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::HostError;
use super::links::{LinkChange, Links, host_bits};
use super::messages::{neighbour_of, route_of};
use super::neighbours::{Entry, Neighbour, Neighbours, Route, Vouched};

/// How often hops that are stale or unknown are asked for.
const CONFIRM_EVERY: Duration = Duration::from_secs(1);
/// A routing daemon may change thousands of routes a second: after a look they gather for this long.
const REST: Duration = Duration::from_millis(50);
/// Before a connection that broke is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// Events that wait for the reader.
const EVENTS: usize = 256;

const GROUPS: [MulticastGroup; 6] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// Something changed on the box.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostEvent {
    /// An interface that is watched.
    Link(LinkChange),
    /// The way to an address that is followed.
    Neighbour(Neighbour),
}

/// Follows the box's interfaces and neighbours until it is dropped.
#[derive(Debug)]
pub struct Watch {
    events: mpsc::Receiver<HostEvent>,
    wanted: watch::Sender<Wanted>,
    task: JoinHandle<()>,
}

/// What is followed.
#[derive(Clone, Debug, Default)]
struct Wanted {
    interfaces: Vec<String>,
    addresses: Vec<IpAddr>,
    vouched: BTreeMap<IpAddr, Vouched>,
}

impl Watch {
    /// Begins to follow these interfaces and these backends' and peers' addresses, in the network
    /// namespace of the calling thread. Must be called within a tokio runtime.
    ///
    /// The first events say how each interface that is there and each address is now.
    pub fn start(interfaces: Vec<String>, addresses: Vec<IpAddr>) -> Result<Self, HostError> {
        let connection = Connection::open()?;
        let (wanted, wanted_receiver) = watch::channel(Wanted {
            interfaces,
            addresses,
            vouched: BTreeMap::new(),
        });
        let (sender, events) = mpsc::channel(EVENTS);
        let task = tokio::spawn(follow(connection, wanted_receiver, sender));
        Ok(Self {
            events,
            wanted,
            task,
        })
    }

    /// The next change. Cancel safe. None only if the task behind it has died.
    pub async fn next(&mut self) -> Option<HostEvent> {
        self.events.recv().await
    }

    /// Follows these from now on; what is new among them is told as at the start.
    pub fn follow(&self, interfaces: Vec<String>, addresses: Vec<IpAddr>) {
        self.wanted.send_modify(|wanted| {
            wanted.interfaces = interfaces;
            wanted.addresses = addresses;
        });
    }

    /// Takes these nodes' word for the MACs that stand for their addresses, regardless of what the kernel is told
    /// by others; its entries are corrected.
    pub fn vouch(&self, vouched: BTreeMap<IpAddr, Vouched>) {
        self.wanted.send_modify(|wanted| wanted.vouched = vouched);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Message = NetlinkMessage<RouteNetlinkMessage>;

/// rtnetlink's connection, and the task that serves it.
struct Connection {
    handle: rtnetlink::Handle,
    messages: futures_util::stream::BoxStream<'static, Message>,
    task: JoinHandle<()>,
}

impl Connection {
    fn open() -> Result<Self, HostError> {
        let (connection, handle, messages) =
            rtnetlink::new_multicast_connection(&GROUPS).map_err(HostError::Socket)?;
        Ok(Self {
            handle,
            messages: messages.map(|(message, _)| message).boxed(),
            task: tokio::spawn(connection),
        })
    }

    /// Tries once, after a while, to replace a broken connection.
    async fn reopen(&mut self) {
        sleep(REOPEN_AFTER).await;
        match Self::open() {
            Ok(another) => *self = another,
            Err(error) => tracing::warn!(%error, "no netlink connection"),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How much has to be read again.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Look {
    /// The messages said it all.
    None,
    /// The ways to all addresses.
    Routes,
    /// All there is: messages were lost, or this is the start.
    Everything,
}

/// What is known, and to whom it is told.
struct Follower {
    wanted: Wanted,
    links: Links,
    told_links: Links,
    neighbours: Neighbours,
    events: mpsc::Sender<HostEvent>,
}

async fn follow(
    mut connection: Connection,
    mut wanted: watch::Receiver<Wanted>,
    events: mpsc::Sender<HostEvent>,
) {
    let mut follower = Follower {
        wanted: wanted.borrow_and_update().clone(),
        links: Links::default(),
        told_links: Links::default(),
        neighbours: Neighbours::default(),
        events,
    };
    let mut confirm = interval(CONFIRM_EVERY);
    confirm.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = Look::Everything;
    loop {
        if let Err(error) = follower.look(&connection.handle, look).await {
            tracing::warn!(%error, "cannot read interfaces and neighbours, trying again");
            connection.reopen().await;
            look = Look::Everything;
            continue;
        }
        follower.correct(&connection.handle).await;
        if follower.tell().await.is_err() {
            return;
        }
        if look != Look::None {
            sleep(REST).await;
        }
        look = tokio::select! {
            message = connection.messages.next() => if let Some(message) = message {
                let mut look = follower.hear(message);
                while let Some(Some(message)) = connection.messages.next().now_or_never() {
                    look = look.max(follower.hear(message));
                }
                look
            } else {
                tracing::warn!("the netlink connection broke, opening another");
                connection.reopen().await;
                Look::Everything
            },
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                follower.wanted = wanted.borrow_and_update().clone();
                Look::Routes
            }
            _ = confirm.tick() => {
                follower.confirm(&connection.handle).await;
                Look::None
            }
        };
    }
}

impl Follower {
    /// Takes in one message, and says what it leaves open.
    fn hear(&mut self, message: Message) -> Look {
        use RouteNetlinkMessage as M;
        let message = match message.payload {
            NetlinkPayload::InnerMessage(message) => message,
            NetlinkPayload::Overrun(_) => return Look::Everything,
            _ => return Look::None,
        };
        match message {
            M::NewLink(link) => self.links.set_link(&link),
            M::DelLink(link) => self.links.remove_link(&link),
            M::NewAddress(address) => {
                if !self.links.set_address(&address) {
                    return Look::None;
                }
            }
            M::DelAddress(address) => self.links.remove_address(&address),
            M::NewNeighbour(neighbour) => {
                self.hear_neighbour(&neighbour, false);
                return Look::None;
            }
            M::DelNeighbour(neighbour) => {
                self.hear_neighbour(&neighbour, true);
                return Look::None;
            }
            M::NewRoute(_) | M::DelRoute(_) => {}
            _ => return Look::None,
        }
        Look::Routes
    }

    fn hear_neighbour(&mut self, message: &NeighbourMessage, deleted: bool) {
        if let Some((ifindex, address, entry)) = neighbour_of(message) {
            let entry = if deleted { Entry::Absent } else { entry };
            self.neighbours.hear(ifindex, address, entry);
        }
    }

    /// Reads again what the messages left open.
    async fn look(
        &mut self,
        handle: &rtnetlink::Handle,
        look: Look,
    ) -> Result<(), rtnetlink::Error> {
        if look == Look::Everything {
            self.links = read_links(handle).await?;
        }
        if look == Look::None {
            return Ok(());
        }
        self.neighbours.follow(&self.wanted.addresses);
        self.neighbours.vouch(self.wanted.vouched.clone());
        let addresses: Vec<_> = self.neighbours.addresses().collect();
        for address in addresses {
            let route = look_up(handle, address).await?;
            self.neighbours.set_route(address, route);
        }
        // A hop may be new, and what the kernel knows of it is no news to it.
        self.neighbours.begin_reading();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let request = handle.neighbours().get().set_address_family(family);
            let mut entries = std::pin::pin!(request.execute());
            while let Some(message) = entries.try_next().await? {
                self.hear_neighbour(&message, false);
            }
        }
        self.confirm(handle).await;
        Ok(())
    }

    /// Has the kernel ask for the hops that nothing else makes it ask for.
    async fn confirm(&self, handle: &rtnetlink::Handle) {
        for (ifindex, address) in self.neighbours.hops_to_confirm() {
            let request = handle
                .neighbours()
                .add(ifindex, address)
                .state(NeighbourState::None)
                .flags(NeighbourFlags::Use)
                .replace();
            // The interface may be down or gone: then the address is unreachable, which the routes
            // say, and the next second asks again.
            if let Err(error) = request.execute().await {
                tracing::debug!(%error, ifindex, %address, "the kernel does not ask for a neighbour");
            }
        }
    }

    /// Corrects what another host made the kernel believe of a node. An entry like those that it makes itself:
    /// it ages, and leaves nothing to undo.
    async fn correct(&self, handle: &rtnetlink::Handle) {
        for (ifindex, address, mac) in self.neighbours.corrections() {
            let request = handle
                .neighbours()
                .add(ifindex, address)
                .link_layer_address(&mac.0)
                .state(NeighbourState::Reachable)
                .replace();
            if let Err(error) = request.execute().await {
                tracing::debug!(%error, ifindex, %address, "a neighbour's entry stays wrong");
            }
        }
    }

    /// Tells what differs from what was told; Err when the receiver is gone.
    async fn tell(&mut self) -> Result<(), mpsc::error::SendError<HostEvent>> {
        for change in self
            .told_links
            .changes(&self.links, &self.wanted.interfaces)
        {
            self.events.send(HostEvent::Link(change)).await?;
        }
        self.told_links = self.links.only(&self.wanted.interfaces);
        for news in self.neighbours.news(&self.links) {
            self.events.send(HostEvent::Neighbour(news)).await?;
        }
        Ok(())
    }
}

async fn read_links(handle: &rtnetlink::Handle) -> Result<Links, rtnetlink::Error> {
    let mut links = Links::default();
    let mut messages = std::pin::pin!(handle.link().get().execute());
    while let Some(message) = messages.try_next().await? {
        links.set_link(&message);
    }
    let mut messages = std::pin::pin!(handle.address().get().execute());
    while let Some(message) = messages.try_next().await? {
        links.set_address(&message);
    }
    Ok(links)
}

/// Asks the routing table, as `ip route get` does.
async fn look_up(handle: &rtnetlink::Handle, address: IpAddr) -> Result<Route, rtnetlink::Error> {
    let mut request = RouteMessage::default();
    request.header.address_family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    request.header.destination_prefix_length = host_bits(address);
    request.attributes = vec![RouteAttribute::Destination(address.into())];
    let mut answers = std::pin::pin!(handle.route().get(request).execute());
    match answers.try_next().await {
        Ok(answer) => Ok(answer.map_or(Route::Unreachable, |answer| route_of(address, &answer))),
        // ENETUNREACH, or what an unreachable, blackhole or prohibit route answers with.
        Err(rtnetlink::Error::NetlinkError(_)) => Ok(Route::Unreachable),
        Err(error) => Err(error),
    }
}
