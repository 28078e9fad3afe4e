//! The data of the demo source: a coffee shop whose rows are a function of the seed. Every row costs the same to generate, and
//! two runs with the same seed produce the same bytes. Knows nothing of the Airbyte protocol.
//!
//! Customers and orders are append-only change logs, numbered from 0. Page views are a plain list.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

const FIRST_NAMES: &[&str] =
    &["Ada", "Björn", "Chloé", "Dmitri", "Esra", "Femi", "Grace", "Łukasz", "Mei", "Søren", "Yuki", "Zoë"];
const LAST_NAMES: &[&str] =
    &["Abara", "Castro", "Ek", "Haddad", "Ito", "Jansen", "Kowalska", "Meyer", "O'Neill", "Peña", "Shah", "Tran"];
const CITIES: &[&str] = &["Lisbon", "Zürich", "São Paulo", "Oslo", "Kraków", "Nairobi", "Québec", "Osaka"];
const COFFEES: &[(&str, u64)] = &[
    ("espresso", 240),
    ("flat-white", 380),
    ("pour-over", 450),
    ("cold-brew", 420),
    ("beans-1kg", 2890),
    ("filter-papers", 590),
];
const PAGES: &[&str] = &["/", "/beans", "/beans/yirgacheffe", "/brewing", "/cart", "/checkout", "/about"];
const REFERRERS: &[Option<&str>] = &[None, Some("https://search.example/"), Some("https://news.example/coffee"), None];
const DEVICES: &[&str] = &["phone", "phone", "laptop", "tablet"];

/// 2026-01-01T00:00:00Z, the time of row 0. Each following row is one minute later.
const OPENING: i64 = 1_767_225_600;
const MINUTE: i64 = 60;

/// Of five changes to customers, four are new customers and the fifth changes an earlier one.
const NEW_CUSTOMERS: u64 = 4;
/// Of eight changes to orders, five are new orders; then one is paid, one shipped and one deleted.
const NEW_ORDERS: u64 = 5;

pub struct Shop {
    pub name: String,
    pub seed: u64,
}

/// The `data` of a record.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Row {
    Customer(Customer),
    PageView(PageView),
    Order(Order),
}

#[derive(Serialize)]
pub struct Customer {
    id: u64,
    name: String,
    email: String,
    city: &'static str,
    loyalty_points: u64,
    newsletter: bool,
    created_at: Moment,
    updated_at: Moment,
}

#[derive(Serialize)]
pub struct PageView {
    visitor: String,
    url: String,
    referrer: Option<&'static str>,
    device: &'static str,
    milliseconds: u64,
    viewed_at: Moment,
}

#[derive(Serialize)]
pub struct Order {
    id: u64,
    customer_id: u64,
    items: Vec<Item>,
    total: f64,
    status: &'static str,
    placed_at: Moment,
    _ab_cdc_lsn: u64,
    _ab_cdc_updated_at: Moment,
    _ab_cdc_deleted_at: Option<Moment>,
}

#[derive(Serialize)]
struct Item {
    product: &'static str,
    quantity: u64,
    price: f64,
}

impl Shop {
    pub fn customer(&self, change: u64) -> Customer {
        let (cycle, slot) = (change / (NEW_CUSTOMERS + 1), change % (NEW_CUSTOMERS + 1));
        let known = cycle * NEW_CUSTOMERS + slot.min(NEW_CUSTOMERS - 1) + 1;
        let id = if slot < NEW_CUSTOMERS { known } else { 1 + self.dice("which customer", change).roll(known) };
        let created = (id - 1) / NEW_CUSTOMERS * (NEW_CUSTOMERS + 1) + (id - 1) % NEW_CUSTOMERS;

        let mut person = self.dice("customer", id);
        let (first, last) = (person.pick(FIRST_NAMES), person.pick(LAST_NAMES));
        let city = person.pick(CITIES);
        let mut today = self.dice("customer today", change);
        Customer {
            id,
            name: format!("{first} {last}"),
            email: format!("customer-{id}@{}.example", self.name),
            city,
            loyalty_points: today.roll(500),
            newsletter: today.roll(3) == 0,
            created_at: Moment::of(created),
            updated_at: Moment::of(change),
        }
    }

    pub fn page_view(&self, number: u64) -> PageView {
        let mut dice = self.dice("page view", number);
        PageView {
            visitor: format!("{:012x}", dice.next() >> 16),
            url: format!("https://{}.example{}", self.name, dice.pick(PAGES)),
            referrer: dice.pick(REFERRERS),
            device: dice.pick(DEVICES),
            milliseconds: 200 + dice.roll(90_000),
            viewed_at: Moment::of(number),
        }
    }

    pub fn order(&self, change: u64) -> Order {
        let (cycle, slot) = (change / (NEW_ORDERS + 3), change % (NEW_ORDERS + 3));
        let (nth, status) = match slot {
            5 => (0, "paid"),
            6 => (1, "shipped"),
            7 => (2, "cancelled"),
            new => (new, "placed"),
        };
        let id = cycle * NEW_ORDERS + nth + 1;
        let placed = cycle * (NEW_ORDERS + 3) + nth;

        let mut dice = self.dice("order", id);
        let mut cents = 0;
        let items = (0..=dice.roll(3))
            .map(|_| {
                let ((product, price), quantity) = (dice.pick(COFFEES), 1 + dice.roll(3));
                cents += price * quantity;
                Item { product, quantity, price: euros(price) }
            })
            .collect();
        Order {
            id,
            customer_id: 1 + dice.roll(1 + placed * NEW_CUSTOMERS / (NEW_CUSTOMERS + 1)),
            items,
            total: euros(cents),
            status,
            placed_at: Moment::of(placed),
            _ab_cdc_lsn: change,
            _ab_cdc_updated_at: Moment::of(change),
            _ab_cdc_deleted_at: (status == "cancelled").then(|| Moment::of(change)),
        }
    }

    /// The random numbers of one row, independent of the order in which rows are generated.
    fn dice(&self, what: &str, number: u64) -> Dice {
        let salt = what.bytes().fold(self.seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Dice(Dice(salt).next() ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }
}

/// SplitMix64, a small and fast generator.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.next() % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize]
    }
}

/// A time derived from a row's number. Serialised without an intermediate string.
pub(super) struct Moment(Timestamp);

impl Moment {
    pub fn of(number: u64) -> Self {
        let seconds = i64::try_from(number).unwrap_or(i64::MAX).saturating_mul(MINUTE).saturating_add(OPENING);
        Self(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX))
    }

    pub fn as_milliseconds(&self) -> i64 {
        self.0.as_millisecond()
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

fn euros(cents: u64) -> f64 {
    cents as f64 / 100.0
}
