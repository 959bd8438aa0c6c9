//! An `ipam` object as it is written in the network's configuration or the flat file. Every key has its type; absent keys have empty
//! values; ranges and addresses are still text.

use std::net::IpAddr;

use cni::json::fold_keys;
use cni::result::{Dns, Route};
use serde_json::{Map, Value};

use super::error::{ConfError, JsonFile, Warning, wrong_type};
use super::settings::{OverlappingRanges, StaticAddress};
use crate::addr::ip;
use crate::addr::range::RangeSpec;

/// Every key that is read. Go matches keys in any case; `fold_keys` renames a match to the form here.
const KEYS: &[&str] = &[
    "type",
    "range",
    "range_start",
    "range_end",
    "exclude",
    "ipRanges",
    "gateway",
    "routes",
    "addresses",
    "dns",
    "network_name",
    "enable_overlapping_ranges",
    "node_slice_size",
    "log_level",
    "kubernetes",
    "configuration_path",
    "reconciler_cron_expression",
    "log_file",
    "sleep_for_race",
    "leader_lease_duration",
    "leader_renew_deadline",
    "leader_retry_period",
];

/// Keys without effect, which cause a warning. The keys of the etcd store of early versions have no effect and cause none.
const IGNORED: &[&str] = &[
    "log_file",
    "log_level",
    "sleep_for_race",
    "reconciler_cron_expression",
    "leader_lease_duration",
    "leader_renew_deadline",
    "leader_retry_period",
];

/// Keys of host-local, and the keys here that mean the same. Their forms differ in more than the case, so `fold_keys` does not touch them.
const FOREIGN: &[(&str, &str)] =
    &[("subnet", "range"), ("rangeStart", "range_start"), ("rangeEnd", "range_end"), ("ranges", "ipRanges")];

/// Keys of early versions without effect and without a warning at ADD: those of the etcd store. Whereabouts ignores them too.
const OF_ETCD: &[&str] = &[
    "etcd_host",
    "etcd_username",
    "etcd_password",
    "etcd_key_file",
    "etcd_cert_file",
    "etcd_ca_cert_file",
    "datastore",
];

/// The keys of an `ipam` object that are ignored without a warning at ADD, since nobody knows them.
pub fn unknown_keys(ipam: &Map<String, Value>) -> Vec<String> {
    let foreign = FOREIGN.iter().map(|(key, _)| *key);
    let known: Vec<&str> = KEYS.iter().chain(OF_ETCD).copied().chain(foreign).collect();
    cni::json::unknown_keys(ipam, &known)
}

/// An element of `ipRanges`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RawRange {
    range: String,
    start: Option<IpAddr>,
    end: Option<IpAddr>,
    exclude: Vec<String>,
}

/// A parsed `ipam` object.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    pub plugin_type: String,
    pub gateway: String,
    pub routes: Vec<Route>,
    pub dns: Dns,
    pub network_name: String,
    pub overlapping: OverlappingRanges,
    pub node_slice_size: String,
    pub kubeconfig: String,
    pub configuration_path: String,
    pub warnings: Vec<Warning>,
    range: RawRange,
    ip_ranges: Vec<RawRange>,
    addresses: Vec<(String, Option<IpAddr>)>,
}

impl Raw {
    pub(super) fn parse(object: &Map<String, Value>, file: JsonFile) -> Result<Self, ConfError> {
        let mut object = object.clone();
        fold_keys(&mut object, KEYS);
        let ipam = Fields { object, file, parent: "ipam" };
        let mut warnings: Vec<Warning> =
            IGNORED.iter().filter(|key| ipam.is_set(key)).map(|key| Warning::Ignored(key)).collect();
        let foreign = FOREIGN.iter().filter(|(key, _)| ipam.is_set(key));
        warnings.extend(foreign.map(|(key, instead)| Warning::ForeignKey { key, instead }));
        // Without effect, but a value of the wrong type is an error as in Whereabouts.
        for key in ["log_level", "reconciler_cron_expression"] {
            ipam.string(key)?;
        }
        let kubernetes = ipam.object("kubernetes", "ipam.kubernetes", &["kubeconfig", "k8s_api_root"])?;
        let dns = ipam.object("dns", "ipam.dns", &["nameservers", "domain", "search", "options"])?;
        Ok(Self {
            plugin_type: ipam.string("type")?,
            range: RawRange {
                range: ipam.string("range")?,
                start: lenient_bound(&ipam, "range_start", &mut warnings)?,
                end: lenient_bound(&ipam, "range_end", &mut warnings)?,
                exclude: ipam.strings("exclude")?,
            },
            ip_ranges: ipam.objects("ipRanges", "ipam.ipRanges", RANGE_KEYS, RawRange::parse)?,
            gateway: ipam.string("gateway")?,
            routes: ipam.objects("routes", "ipam.routes", ROUTE_KEYS, parse_route)?,
            addresses: ipam.objects("addresses", "ipam.addresses", &["address", "gateway"], |fields| {
                Ok((fields.string("address")?, fields.strict_ip("gateway")?))
            })?,
            dns: Dns {
                nameservers: dns.strings("nameservers")?,
                domain: dns.string("domain")?,
                search: dns.strings("search")?,
                options: dns.strings("options")?,
            },
            network_name: ipam.string("network_name")?,
            overlapping: overlapping(&ipam)?,
            node_slice_size: ipam.string("node_slice_size")?,
            kubeconfig: kubernetes.string("kubeconfig")?,
            configuration_path: ipam.string("configuration_path")?,
            warnings,
        })
    }

    /// Takes every empty value from `flat`. The exception is `enable_overlapping_ranges`: its default is true, so it is never empty.
    pub(super) fn merged_with(self, flat: Self) -> Self {
        // Keys without effect in the flat file cause no warning: it would repeat in every call of every network.
        let mut warnings = self.warnings;
        warnings.extend(flat.warnings.into_iter().filter(|warning| !matches!(warning, Warning::Ignored(_))));
        Self {
            plugin_type: self.plugin_type,
            range: RawRange {
                range: or(self.range.range, flat.range.range),
                start: self.range.start.or(flat.range.start),
                end: self.range.end.or(flat.range.end),
                exclude: or_list(self.range.exclude, flat.range.exclude),
            },
            ip_ranges: or_list(self.ip_ranges, flat.ip_ranges),
            gateway: or(self.gateway, flat.gateway),
            routes: or_list(self.routes, flat.routes),
            addresses: or_list(self.addresses, flat.addresses),
            dns: Dns {
                nameservers: or_list(self.dns.nameservers, flat.dns.nameservers),
                domain: or(self.dns.domain, flat.dns.domain),
                search: or_list(self.dns.search, flat.dns.search),
                options: or_list(self.dns.options, flat.dns.options),
            },
            network_name: or(self.network_name, flat.network_name),
            overlapping: self.overlapping,
            node_slice_size: or(self.node_slice_size, flat.node_slice_size),
            kubeconfig: or(self.kubeconfig, flat.kubeconfig),
            configuration_path: or(self.configuration_path, flat.configuration_path),
            warnings,
        }
    }

    /// `range` with the keys beside it, then the elements of `ipRanges`.
    pub(super) fn ranges(&self) -> Result<Vec<RangeSpec>, ConfError> {
        // An `ipam` object may have both; Whereabouts allocates from `range` first.
        let single = (!self.range.range.is_empty()).then_some(&self.range);
        let all = single.into_iter().chain(&self.ip_ranges);
        all.map(|raw| Ok(RangeSpec::parse(&raw.range, raw.start, raw.end, raw.exclude.clone())?)).collect()
    }

    pub(super) fn static_addresses(&self) -> Result<Vec<StaticAddress>, ConfError> {
        let parse = |(text, gateway): &(String, Option<IpAddr>)| {
            let address = ip::parse_cidr_sloppy(text)
                .map_err(|source| ConfError::Address { text: text.clone(), source })?;
            Ok(StaticAddress { address, gateway: *gateway })
        };
        self.addresses.iter().map(parse).collect()
    }
}

fn or(text: String, fallback: String) -> String {
    if text.is_empty() { fallback } else { text }
}

fn or_list<T>(list: Vec<T>, fallback: Vec<T>) -> Vec<T> {
    if list.is_empty() { fallback } else { list }
}

fn overlapping(ipam: &Fields) -> Result<OverlappingRanges, ConfError> {
    match ipam.object.get("enable_overlapping_ranges") {
        // `fold_keys` has removed a null, so it counts as absent.
        None | Some(Value::Bool(true)) => Ok(OverlappingRanges::Protected),
        Some(Value::Bool(false)) => Ok(OverlappingRanges::Separate),
        Some(_) => Err(ipam.wrong("enable_overlapping_ranges", "true or false")),
    }
}

/// `range_start` or `range_end` beside `range`: a text that is not an address is ignored with a warning. In `ipRanges` it is an error. So
/// does Whereabouts.
fn lenient_bound(
    ipam: &Fields,
    key: &'static str,
    warnings: &mut Vec<Warning>,
) -> Result<Option<IpAddr>, ConfError> {
    let text = ipam.string(key)?;
    let ip = ip::parse_sloppy(&text);
    if ip.is_none() && !text.is_empty() {
        warnings.push(Warning::NotAnAddress { key, text: text.escape_debug().to_string() });
    }
    Ok(ip)
}

const RANGE_KEYS: &[&str] = &["range", "range_start", "range_end", "exclude"];

impl RawRange {
    fn parse(fields: &Fields) -> Result<Self, ConfError> {
        Ok(Self {
            range: fields.string("range")?,
            start: fields.strict_ip("range_start")?,
            end: fields.strict_ip("range_end")?,
            exclude: fields.strings("exclude")?,
        })
    }
}

const ROUTE_KEYS: &[&str] = &["dst", "gw", "mtu", "advmss", "priority", "table", "scope"];

fn parse_route(fields: &Fields) -> Result<Route, ConfError> {
    let dst = fields.string("dst")?;
    let dst =
        ip::parse_cidr_strict(&dst).map_err(|_| fields.wrong("dst", "an address with prefix length"))?;
    Ok(Route {
        dst,
        gw: fields.strict_ip("gw")?,
        mtu: fields.number("mtu")?.unwrap_or(0),
        advmss: fields.number("advmss")?.unwrap_or(0),
        priority: fields.number("priority")?.unwrap_or(0),
        table: fields.number("table")?,
        scope: fields.number("scope")?,
    })
}

/// A JSON object with folded keys, and its position for messages.
struct Fields {
    object: Map<String, Value>,
    file: JsonFile,
    parent: &'static str,
}

impl Fields {
    fn string(&self, key: &str) -> Result<String, ConfError> {
        match self.object.get(key) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(self.wrong(key, "a string")),
        }
    }

    fn strings(&self, key: &str) -> Result<Vec<String>, ConfError> {
        let items = self.array(key, "a list of strings")?;
        let text = |item: &Value| item.as_str().map(str::to_owned);
        items.iter().map(text).collect::<Option<_>>().ok_or_else(|| self.wrong(key, "a list of strings"))
    }

    fn number<N: TryFrom<u64>>(&self, key: &str) -> Result<Option<N>, ConfError> {
        let Some(value) = self.object.get(key) else { return Ok(None) };
        // The target type limits the value.
        let number = value.as_u64().and_then(|number| N::try_from(number).ok());
        number.map(Some).ok_or_else(|| self.wrong(key, "a whole number that is not negative"))
    }

    fn strict_ip(&self, key: &str) -> Result<Option<IpAddr>, ConfError> {
        let text = self.string(key)?;
        if text.is_empty() {
            return Ok(None);
        }
        ip::parse_strict(&text).map(Some).ok_or_else(|| self.wrong(key, "an IP address"))
    }

    fn object(&self, key: &str, name: &'static str, keys: &[&str]) -> Result<Self, ConfError> {
        match self.object.get(key) {
            None => Ok(self.child(Map::new(), name, keys)),
            Some(Value::Object(object)) => Ok(self.child(object.clone(), name, keys)),
            Some(_) => Err(self.wrong(key, "an object")),
        }
    }

    fn objects<T>(
        &self,
        key: &str,
        name: &'static str,
        keys: &[&str],
        parse: impl Fn(&Self) -> Result<T, ConfError>,
    ) -> Result<Vec<T>, ConfError> {
        let parse_item = |item: &Value| match item {
            Value::Object(object) => parse(&self.child(object.clone(), name, keys)),
            _ => Err(self.wrong(key, "a list of objects")),
        };
        self.array(key, "a list of objects")?.iter().map(parse_item).collect()
    }

    fn array(&self, key: &str, expected: &str) -> Result<&[Value], ConfError> {
        match self.object.get(key) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(self.wrong(key, expected)),
        }
    }

    fn child(&self, mut object: Map<String, Value>, name: &'static str, keys: &[&str]) -> Self {
        fold_keys(&mut object, keys);
        Self { object, file: self.file.clone(), parent: name }
    }

    /// Whether the key is present, and neither empty nor zero.
    fn is_set(&self, key: &str) -> bool {
        // Go writes zero values for unset keys: they are not a setting.
        self.object.get(key).is_some_and(|value| *value != "" && *value != 0)
    }

    fn wrong(&self, key: &str, expected: &str) -> ConfError {
        wrong_type(self.file.clone(), &format!("{}.{key}", self.parent), expected)
    }
}
