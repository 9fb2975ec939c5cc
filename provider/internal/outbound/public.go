package outbound

import "net/netip"

// unicast is all that is given out of IPv6 so far. Outside of it are loopback, link
// and site local addresses, multicast, IPv4 in its mapped and translated (NAT64)
// forms, and what nobody has yet.
const unicast = "2000::/3"

// special are networks that the IANA special-purpose address registries (RFC 6890)
// keep for something else than hosts of the public internet.
func special() []string {
	return []string{
		"0.0.0.0/8",       // this network
		"10.0.0.0/8",      // private
		"100.64.0.0/10",   // between carriers and customers
		"127.0.0.0/8",     // loopback
		"169.254.0.0/16",  // link local, and where clouds keep their metadata
		"172.16.0.0/12",   // private
		"192.0.0.0/24",    // protocol assignments
		"192.0.2.0/24",    // documentation
		"192.31.196.0/24", // AS112
		"192.52.193.0/24", // multicast tunnels
		"192.88.99.0/24",  // 6to4 relays
		"192.168.0.0/16",  // private
		"192.175.48.0/24", // AS112
		"198.18.0.0/15",   // benchmarks
		"198.51.100.0/24", // documentation
		"203.0.113.0/24",  // documentation
		"224.0.0.0/4",     // multicast
		"240.0.0.0/4",     // reserved, and broadcast

		"2001::/23",         // protocol assignments: Teredo, benchmarks, ORCHID
		"2001:db8::/32",     // documentation
		"2002::/16",         // 6to4, which may lead to any IPv4 address
		"2620:4f:8000::/48", // AS112
		"3fff::/20",         // documentation
	}
}

// public reports whether an address is one of the public internet.
func public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" || a.Is6() && !netip.MustParsePrefix(unicast).Contains(a) {
		return false
	}
	for _, network := range special() {
		if netip.MustParsePrefix(network).Contains(a) {
			return false
		}
	}
	return true
}
