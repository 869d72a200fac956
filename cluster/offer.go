package cluster

import "github.com/hashicorp/raft"

// offer is leadership that was offered to a peer. Raft first waits until the peer has all
// entries, and asks the goroutine that sends them to say so, by a channel that holds one
// question. Where it gives up before that goroutine has looked, the question stays: a
// second offer would wait behind it, for ever if leadership ends meanwhile, and this peer
// would refuse commands whenever it leads again, because leadership is being handed over.
type offer struct {
	term   uint64 // in which it was made; the channel is of that term
	given  bool   // raft had its answer, and has asked the peer to lead
	before uint64 // messages of entries that had got through when it was made
}

// answered is how many messages of entries later the question has been looked at for
// certain: before each, the goroutine takes one of what waits for it, by chance, and half of the
// time at least it is the question.
const answered = 64

// open tells whether an earlier offer of that term may not have been looked at yet: then
// there is to be no other.
func (l *listener) open(term uint64) bool {
	o := l.offer
	return o.term == term && !o.given && l.through-o.before < answered
}

// waits tells whether a peer has not answered an offer of that term yet.
func (a *audience) waits(id raft.ServerID, term uint64) bool {
	l := a.of(id)
	a.mu.Lock()
	defer a.mu.Unlock()
	return l.open(term)
}

// claim notes that leadership is offered to a peer in a term, unless it has not answered
// an earlier offer.
func (a *audience) claim(id raft.ServerID, term uint64) (free bool) {
	l := a.of(id)
	a.mu.Lock()
	defer a.mu.Unlock()
	if l.open(term) {
		return false
	}
	l.offer = offer{term: term, before: l.through}
	return true
}

// given notes that what was offered need not be waited for any more.
func (a *audience) given(id raft.ServerID) {
	l := a.of(id)
	a.mu.Lock()
	defer a.mu.Unlock()
	l.offer.given = true
}

// TimeoutNow asks a peer to lead.
func (t *newsTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, q *raft.TimeoutNowRequest, a *raft.TimeoutNowResponse) error {
	t.audience.given(id)
	return t.raftTransport.TimeoutNow(id, target, q, a)
}

// audience is who hears this peer; of a transport that cannot tell, nobody is known.
func (n *Node) audience() *audience {
	if n.news == nil {
		return &audience{}
	}
	return &n.news.audience
}
