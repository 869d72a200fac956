package nameserver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/orchd/orchd/test/ports"
)

// names is a registry of a few names.
func names(_ context.Context, name string) ([]netip.Addr, bool, error) {
	switch name {
	case "web.default.vm":
		return []netip.Addr{netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("10.0.0.8")}, true, nil
	case "v4":
		return []netip.Addr{netip.MustParseAddr("::ffff:192.0.2.4")}, true, nil
	case "none":
		return nil, true, nil
	case "broken":
		return nil, false, errors.New("the registry is on fire")
	case "big":
		var all []netip.Addr
		for i := range 200 {
			all = append(all, netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}))
		}
		return all, true, nil
	}
	return nil, false, nil
}

func newServer(t testing.TB) *Server {
	t.Helper()
	s, err := New(Config{
		Domain: "VMs.Example.", Lookup: names, Self: []netip.Addr{netip.MustParseAddr("192.0.2.53")},
		Beneath: func(name string) bool { return strings.HasSuffix("web.default.vm", "."+name) },
		Log:     slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// texts are the values of records, in order.
func texts(records []dns.RR) (all []string) {
	for _, r := range records {
		all = append(all, strings.TrimPrefix(r.String(), r.Header().String()))
	}
	return all
}

func TestAnswers(t *testing.T) {
	s := newServer(t)
	for name, c := range map[string]struct {
		name  string
		kind  uint16
		code  int
		want  []string // values of the answer
		quiet bool     // nothing found: the answer says for how long
	}{
		"both IPv4 addresses":         {"web.default.vm.vms.example.", dns.TypeA, dns.RcodeSuccess, []string{"10.0.0.7", "10.0.0.8"}, false},
		"the IPv6 address":            {"web.default.vm.vms.example.", dns.TypeAAAA, dns.RcodeSuccess, []string{"2001:db8::7"}, false},
		"capitals are as good":        {"WEB.Default.vm.VMS.example.", dns.TypeA, dns.RcodeSuccess, []string{"10.0.0.7", "10.0.0.8"}, false},
		"IPv4 within IPv6 is IPv4":    {"v4.vms.example.", dns.TypeA, dns.RcodeSuccess, []string{"192.0.2.4"}, false},
		"there, but not of this type": {"v4.vms.example.", dns.TypeAAAA, dns.RcodeSuccess, nil, true},
		"there, without an address":   {"none.vms.example.", dns.TypeA, dns.RcodeSuccess, nil, true},
		"there, asked for mail":       {"v4.vms.example.", dns.TypeMX, dns.RcodeSuccess, nil, true},
		"no such name":                {"nobody.vms.example.", dns.TypeA, dns.RcodeNameError, nil, true},
		"names beneath it":            {"default.vm.vms.example.", dns.TypeA, dns.RcodeSuccess, nil, true},
		"no names beneath it":         {"other.vm.vms.example.", dns.TypeA, dns.RcodeNameError, nil, true},
		"half a label is no zone":     {"xvms.example.", dns.TypeA, dns.RcodeRefused, nil, false},
		"another zone":                {"example.org.", dns.TypeA, dns.RcodeRefused, nil, false},
		"the root":                    {".", dns.TypeNS, dns.RcodeRefused, nil, false},
		"the whole zone":              {"vms.example.", dns.TypeAXFR, dns.RcodeRefused, nil, false},
		"a registry in trouble":       {"broken.vms.example.", dns.TypeA, dns.RcodeServerFailure, nil, false},
		"who answers":                 {"vms.example.", dns.TypeNS, dns.RcodeSuccess, []string{"ns.vms.example."}, false},
		"where who answers is":        {"ns.vms.example.", dns.TypeA, dns.RcodeSuccess, []string{"192.0.2.53"}, false},
		"the zone":                    {"vms.example.", dns.TypeSOA, dns.RcodeSuccess, []string{"ns.vms.example. hostmaster.vms.example. 1 3600 600 86400 30"}, false},
		"what the zone is":            {"vms.example.", dns.TypeTXT, dns.RcodeSuccess, []string{`"names of the registry of an orchd cluster"`}, false},
		"the zone has no address":     {"vms.example.", dns.TypeA, dns.RcodeSuccess, nil, true},
		"everything":                  {"v4.vms.example.", dns.TypeANY, dns.RcodeSuccess, []string{`"RFC8482" ""`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.answer(t.Context(), new(dns.Msg).SetQuestion(c.name, c.kind))
			if got.Rcode != c.code || !slices.Equal(texts(got.Answer), c.want) {
				t.Errorf("got %s %q, want %s %q", dns.RcodeToString[got.Rcode], texts(got.Answer), dns.RcodeToString[c.code], c.want)
			}
			if quiet := len(got.Ns) == 1 && got.Ns[0].Header().Rrtype == dns.TypeSOA; quiet != c.quiet {
				t.Errorf("got authority %v, want the zone's record: %v", got.Ns, c.quiet)
			}
			ours := c.code == dns.RcodeSuccess || c.code == dns.RcodeNameError
			if got.Authoritative != ours || got.RecursionAvailable {
				t.Errorf("got authoritative %v, recursion %v; want %v, false", got.Authoritative, got.RecursionAvailable, ours)
			}
			for _, r := range append(got.Answer, got.Ns...) {
				if r.Header().Ttl != TTL {
					t.Errorf("%v may be kept %d s, want %d", r, r.Header().Ttl, TTL)
				}
			}
		})
	}
}

func TestWhatIsNoQuestion(t *testing.T) {
	s := newServer(t)
	query := func(change func(*dns.Msg)) *dns.Msg {
		m := new(dns.Msg).SetQuestion("v4.vms.example.", dns.TypeA)
		change(m)
		return m
	}
	if got := s.answer(t.Context(), query(func(m *dns.Msg) { m.Response = true })); got != nil {
		t.Errorf("an answer is answered: %v", got)
	}
	for name, c := range map[string]struct {
		question *dns.Msg
		code     int
	}{
		"an update":               {query(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), dns.RcodeNotImplemented},
		"no question":             {query(func(m *dns.Msg) { m.Question = nil }), dns.RcodeFormatError},
		"two questions":           {query(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), dns.RcodeFormatError},
		"another class":           {query(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), dns.RcodeRefused},
		"EDNS of another version": {query(func(m *dns.Msg) { m.SetEdns0(4096, false); m.IsEdns0().SetVersion(1) }), dns.RcodeBadVers},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.answer(t.Context(), c.question); got.Rcode != c.code {
				t.Errorf("got %s, want %s", dns.RcodeToString[got.Rcode], dns.RcodeToString[c.code])
			}
		})
	}
}

func TestDomainThatIsNone(t *testing.T) {
	for _, domain := range []string{"", ".", strings.Repeat("a", 64), "a..b"} {
		if _, err := New(Config{Domain: domain, Lookup: names}); err == nil {
			t.Errorf("domain %q is taken", domain)
		}
	}
}

// serving starts a server on a port of this host that is free for UDP and TCP.
func serving(t *testing.T) string {
	t.Helper()
	packets, err := net.ListenPacket("udp", ports.Address(t))
	if err != nil {
		t.Fatal(err)
	}
	streams, err := net.Listen("tcp", packets.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- newServer(t).Run(ctx, packets, streams) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	return packets.LocalAddr().String()
}

func TestOverTheNetwork(t *testing.T) {
	at := serving(t)
	ask := func(network string, size uint16) *dns.Msg {
		t.Helper()
		m := new(dns.Msg).SetQuestion("big.vms.example.", dns.TypeAAAA)
		if size > 0 {
			m.SetEdns0(size, false)
		}
		got, _, err := (&dns.Client{Net: network, UDPSize: dns.MaxMsgSize}).ExchangeContext(t.Context(), m, at)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for name, c := range map[string]struct {
		network string
		size    uint16
		cut     bool
		most    int
	}{
		"UDP as of old":             {"udp", 0, true, dns.MinMsgSize},
		"UDP with room":             {"udp", 1232, false, 1232},
		"UDP with more than enough": {"udp", 65000, false, maxUDP},
		"UDP with too little":       {"udp", 12, true, dns.MinMsgSize},
		"TCP":                       {"tcp", 0, false, dns.MaxMsgSize},
	} {
		t.Run(name, func(t *testing.T) {
			got := ask(c.network, c.size)
			got.Compress = true // as it was sent
			if got.Truncated != c.cut || got.Len() > c.most {
				t.Errorf("got cut %v with %d bytes, want %v with at most %d", got.Truncated, got.Len(), c.cut, c.most)
			}
			if !c.cut && len(got.Answer) != maxAnswers {
				t.Errorf("got %d addresses, want %d", len(got.Answer), maxAnswers)
			}
		})
	}
}

func TestTooManyConnections(t *testing.T) {
	at := serving(t)
	var open []net.Conn
	for range maxTCP {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
		// An answer shows that the server has taken the connection.
		conn := &dns.Conn{Conn: c}
		if err := conn.WriteMsg(new(dns.Msg).SetQuestion("v4.vms.example.", dns.TypeA)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.ReadMsg(); err != nil {
			t.Fatal(err)
		}
	}
	one, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	if n, err := one.Read(make([]byte, 1)); err == nil {
		t.Errorf("one connection too many is served: read %d bytes", n)
	}
	for _, c := range open {
		c.Close()
	}
}

func TestTooManyQuestions(t *testing.T) {
	s := newServer(t)
	for range maxInHand {
		s.inHand <- struct{}{}
	}
	w := &writer{}
	s.serve(t.Context(), w, new(dns.Msg).SetQuestion("v4.vms.example.", dns.TypeA))
	if w.got != nil {
		t.Errorf("answered with all hands full: %v", w.got)
	}
	<-s.inHand
	s.serve(t.Context(), w, new(dns.Msg).SetQuestion("v4.vms.example.", dns.TypeA))
	if w.got == nil {
		t.Error("not answered with a hand free")
	}
}

// writer keeps the answer.
type writer struct {
	dns.ResponseWriter
	got *dns.Msg
}

func (w *writer) RemoteAddr() net.Addr      { return &net.UDPAddr{} }
func (w *writer) WriteMsg(m *dns.Msg) error { w.got = m; return nil }

// FuzzAnswer asks whatever can be read as a message, and looks whether what comes back
// can be sent, fits, and is for who asked.
func FuzzAnswer(f *testing.F) {
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeANY, dns.TypeSOA, dns.TypeAXFR} {
		for _, name := range []string{"big.vms.example.", "vms.example.", ".", "nobody.vms.example.", `\000.vms.example.`} {
			m := new(dns.Msg).SetQuestion(name, kind)
			m.SetEdns0(1232, true)
			packed, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(packed)
		}
	}
	s := newServer(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		question := new(dns.Msg)
		if question.Unpack(data) != nil {
			return
		}
		got := s.answer(t.Context(), question)
		if question.Response {
			if got != nil {
				t.Fatal("an answer is answered")
			}
			return
		}
		got.Truncate(room(question, true))
		packed, err := got.Pack()
		switch {
		case err != nil:
			t.Fatalf("the answer cannot be sent: %v", err)
		case len(packed) > room(question, true):
			t.Fatalf("the answer has %d bytes, and room for %d", len(packed), room(question, true))
		case got.Id != question.Id || !got.Response || got.RecursionAvailable:
			t.Fatalf("the answer is none to the question: %v", got)
		}
	})
}
