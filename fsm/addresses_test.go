package fsm

import (
	"net/netip"
	"testing"
)

func TestFreeAddress(t *testing.T) {
	var a addresses
	a.enter([]string{"10.0.0.1", "10.0.0.2", "10.0.0.4", "10.0.0.9", "255.255.255.255", "fd00::1", "fd00::3"}, nil)
	for _, c := range []struct{ first, last, skip, want string }{
		{"10.0.0.1", "10.0.0.9", "", "10.0.0.3"},
		{"10.0.0.1", "10.0.0.9", "10.0.0.3", "10.0.0.5"},
		{"10.0.0.0", "10.0.0.9", "", "10.0.0.0"},
		{"10.0.0.0", "10.0.0.9", "10.0.0.0", "10.0.0.3"},
		{"10.0.0.1", "10.0.0.2", "", ""},
		{"10.0.0.1", "10.0.0.3", "10.0.0.3", ""},
		{"10.0.0.1", "10.0.0.4", "10.0.0.3", ""},
		{"10.0.0.9", "10.0.0.20", "", "10.0.0.10"},
		{"10.0.0.20", "10.0.0.20", "", "10.0.0.20"},
		{"10.0.0.20", "10.0.0.20", "10.0.0.20", ""},
		{"255.255.255.254", "255.255.255.255", "255.255.255.254", ""},
		{"fd00::1", "fd00::ffff", "", "fd00::2"},
		{"fd00::1", "fd00::ffff", "fd00::2", "fd00::4"},
		{"fe00::1", "fe00::ffff", "fe00::1", "fe00::2"},
	} {
		got, ok := a.free(netip.MustParseAddr(c.first), netip.MustParseAddr(c.last), func(addr netip.Addr) bool { return addr.String() == c.skip })
		if ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("%+v: got %v, %v", c, got, ok)
		}
	}
	if got, ok := new(addresses).free(netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::1"), func(netip.Addr) bool { return false }); !ok || got.String() != "fd00::1" {
		t.Errorf("of none named: got %v, %v", got, ok)
	}
}
