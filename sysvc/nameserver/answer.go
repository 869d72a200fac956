package nameserver

import (
	"context"
	"net/netip"

	"github.com/miekg/dns"
)

// answer is what is said to a question; nil: nothing.
func (s *Server) answer(ctx context.Context, question *dns.Msg) *dns.Msg {
	if question.Response {
		return nil // or two servers could keep each other busy for ever
	}
	reply := new(dns.Msg)
	reply.SetReply(question)
	reply.Compress = true
	if opt := question.IsEdns0(); opt != nil {
		reply.SetEdns0(maxUDP, false)
		if opt.Version() != 0 {
			return refused(reply, dns.RcodeBadVers)
		}
	}
	switch {
	case question.Opcode != dns.OpcodeQuery:
		return refused(reply, dns.RcodeNotImplemented)
	case len(question.Question) != 1:
		return refused(reply, dns.RcodeFormatError)
	}
	q := question.Question[0]
	name, ours := s.below(q.Name)
	if !ours || q.Qclass != dns.ClassINET || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR {
		return refused(reply, dns.RcodeRefused)
	}
	reply.Authoritative = true
	records, there, err := s.records(ctx, q, name)
	switch {
	case err != nil:
		s.cfg.Log.Warn("name not looked up", "name", name, "err", err)
		reply.Authoritative = false
		return refused(reply, dns.RcodeServerFailure)
	case !there:
		reply.Rcode = dns.RcodeNameError
	}
	reply.Answer = records
	if len(records) == 0 {
		reply.Ns = []dns.RR{s.soa(s.origin)} // how long it may be remembered that there is nothing
	}
	return reply
}

func refused(reply *dns.Msg, code int) *dns.Msg {
	reply.Rcode = code
	return reply
}

// records are those of a name that a question asks for, and whether there is such a name.
func (s *Server) records(ctx context.Context, q dns.Question, name string) ([]dns.RR, bool, error) {
	switch name {
	case "":
		return s.apex(q), true, nil
	case nsLabel:
		return addresses(q, s.cfg.Self), true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	found, there, err := s.cfg.Lookup(ctx, name)
	if err != nil || there {
		return addresses(q, found), there, err
	}
	return nil, s.cfg.Beneath != nil && s.cfg.Beneath(name), nil
}

// nsLabel is this server's own name below the domain.
const nsLabel = "ns"

// apex are the records of the domain itself.
func (s *Server) apex(q dns.Question) []dns.RR {
	switch q.Qtype {
	case dns.TypeSOA:
		return []dns.RR{s.soa(q.Name)}
	case dns.TypeNS:
		return []dns.RR{&dns.NS{Hdr: header(q.Name, dns.TypeNS), Ns: nsLabel + "." + s.origin}}
	case dns.TypeTXT:
		return []dns.RR{&dns.TXT{Hdr: header(q.Name, dns.TypeTXT), Txt: []string{"names of the registry of an orchd cluster"}}}
	case dns.TypeANY:
		return least(q)
	}
	return nil
}

// addresses are the A or AAAA records of a name.
func addresses(q dns.Question, found []netip.Addr) (all []dns.RR) {
	if q.Qtype == dns.TypeANY {
		return least(q)
	}
	for _, addr := range found {
		addr = addr.Unmap().WithZone("")
		switch {
		case len(all) == maxAnswers:
			return all
		case q.Qtype == dns.TypeA && addr.Is4():
			all = append(all, &dns.A{Hdr: header(q.Name, dns.TypeA), A: addr.AsSlice()})
		case q.Qtype == dns.TypeAAAA && addr.Is6():
			all = append(all, &dns.AAAA{Hdr: header(q.Name, dns.TypeAAAA), AAAA: addr.AsSlice()})
		}
	}
	return all
}

// least is the short answer to a question for everything (RFC 8482).
func least(q dns.Question) []dns.RR {
	return []dns.RR{&dns.HINFO{Hdr: header(q.Name, dns.TypeHINFO), Cpu: "RFC8482"}}
}

func header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: TTL}
}

// soa is the record of the zone. Nobody copies the zone, so its serial says nothing.
func (s *Server) soa(name string) dns.RR {
	return &dns.SOA{Hdr: header(name, dns.TypeSOA), Ns: nsLabel + "." + s.origin, Mbox: "hostmaster." + s.origin,
		Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: TTL}
}
