package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster"
	"github.com/orchd/orchd/cluster/ca"
	"github.com/orchd/orchd/fsm"
)

// clockTolerance is how far off a newcomer's clock may be.
const clockTolerance = 60 * time.Second

// Join admits a newcomer. Whoever is asked passes it to the leader, which alone
// calls back, signs and proposes.
func (p *Peer) Join(ctx context.Context, r api.JoinRequest) (api.JoinAnswer, error) {
	leader, _ := p.node.Leader()
	switch leader {
	case "":
		return api.JoinAnswer{}, api.Errorf(api.Unavailable, "join", "no leader in sight; try again in a moment")
	case p.identity.PeerID:
		return p.admit(ctx, r)
	}
	var answer api.JoinAnswer
	err := p.askPeer(ctx, leader, "/peer/admit", r, &answer)
	return answer, err
}

// admit is the leader's side of joining.
func (p *Peer) admit(ctx context.Context, r api.JoinRequest) (answer api.JoinAnswer, err error) {
	if off := p.cfg.Now().Sub(r.Clock); off.Abs() > clockTolerance {
		return answer, api.Errorf(api.Conflict, "join", "the newcomer's clock is %s off the leader's, at most %s is allowed; mend its time synchronisation", off.Round(time.Second), clockTolerance)
	}
	if !api.ValidName(r.Name) {
		return answer, &api.Error{Kind: api.Invalid, Op: "join", Msg: "the name is not valid", Fields: []api.FieldError{{Pointer: "/name", Detail: "must be 1 to 63 of a-z, 0-9 and -"}}}
	}
	public, err := ca.PublicKey(r.CSR)
	if err != nil {
		return answer, api.Errorf(api.Invalid, "join", "the certificate request cannot be read: %w", err)
	}
	id, secret, _ := strings.Cut(r.Token, ".")
	if err := p.machine.Read().MayJoin(id, secret, public); err != nil {
		return answer, err
	}
	if err := p.joinVouched(ctx, r, public); err != nil { // behind the token: strangers make nobody run scripts
		return answer, err
	}
	if err := p.node.DialBack(ctx, r.Nonce, r.Host.Addresses); err != nil {
		return answer, err
	}
	admission, err := p.prepare(r, public)
	if err != nil {
		return answer, err
	}
	admission.TokenID, admission.Secret = id, secret
	ctx = api.WithCaller(ctx, api.Caller{Actor: api.Actor{ID: "token:" + id, Role: api.RolePeer}, RequestID: api.CallerOf(ctx).RequestID})
	row, err := p.writer.JoinPeer(ctx, admission)
	if err != nil {
		return answer, err
	}
	p.log.Info("peer joined", "peer", row.Name, "id", row.ID)
	return p.welcome(row)
}

// prepare signs the newcomer's certificate and wraps the cluster's keys for it.
func (p *Peer) prepare(r api.JoinRequest, public []byte) (fsm.Admission, error) {
	keys := map[string][]byte{}
	now := p.machine.Read()
	for _, name := range now.AllKeyNames() {
		key, err := p.clusterKeyIn(now, name)
		if err != nil {
			return fsm.Admission{}, err
		}
		keys[name] = key
	}
	authority, err := p.signer(now)
	if err != nil {
		return fsm.Admission{}, err
	}
	id := uuid.NewString()
	cert, err := authority.Peer(r.CSR, id, p.cfg.Now(), r.Name, r.Host.Addresses.API, r.Host.Addresses.Raft, r.Host.Addresses.Gossip)
	if err != nil {
		return fsm.Admission{}, err
	}
	wrapped, err := wrapFor(r.WrapKey, keys)
	if err != nil {
		return fsm.Admission{}, api.Errorf(api.Invalid, "join", "the wrap key cannot be used: %w", err)
	}
	h := r.Host
	return fsm.Admission{Wrapped: wrapped, Peer: api.Peer{
		ID: id, Name: r.Name, Addresses: h.Addresses, Capacity: h.Capacity, Reserve: h.Reserve, Ratios: h.Ratios, Labels: h.Labels,
		Driver: h.Driver, HostUUID: h.HostUUID, Problem: h.Problem, Software: h.Software, Level: h.Level,
		PublicKey: public, WrapKey: r.WrapKey, Certificate: string(cert),
	}}, nil
}

// welcome is the answer to a host that is a peer by now.
func (p *Peer) welcome(row api.Peer) (api.JoinAnswer, error) {
	now := p.machine.Read()
	a := api.JoinAnswer{ClusterID: p.identity.ClusterID, PeerID: row.ID, Certificate: row.Certificate, CA: string(authorities(now)), Keys: map[string][]byte{},
		GossipKeys: now.KeyNames(api.KeyGossip)}
	for _, name := range now.AllKeyNames() {
		w, ok := now.WrappedKey(name, row.ID)
		if !ok {
			return a, api.Errorf(api.Unavailable, "join", "the new peer's keys are not applied here yet; try again")
		}
		a.Keys[name] = w
	}
	a.Peers, _ = roster{p.machine}.Members()
	return a, nil
}

// clusterKeyIn unwraps one of the cluster's keys.
func (p *Peer) clusterKeyIn(now fsm.Reader, name string) ([]byte, error) {
	w, ok := now.WrappedKey(name, p.identity.PeerID)
	if !ok {
		return nil, api.Errorf(api.Unavailable, "keys", "this peer has not applied %s yet; try again", name)
	}
	return p.identity.WrapKey.Unwrap(name, w)
}

// roster is what the tables say of the peers, for cluster.
type roster struct {
	machine interface{ Read() fsm.Reader }
}

func (r roster) Members() ([]cluster.Member, <-chan struct{}) {
	now := r.machine.Read()
	var list []cluster.Member
	for p := range now.Members() {
		list = append(list, cluster.Member{ID: p.ID, Name: p.Name, Addresses: p.Addresses, PublicKey: p.PublicKey})
	}
	return list, now.PeersChanged()
}

// askPeer posts a question to another peer over the peer channel; an error of
// its side comes back as it was.
func (p *Peer) askPeer(ctx context.Context, peer, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+peer+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := p.node.Client().Do(r)
	if err != nil {
		return api.Errorf(api.Unavailable, "peer", "ask peer %s: %w", peer, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	if err != nil {
		return api.Errorf(api.Unavailable, "peer", "read the answer of peer %s: %w", peer, err)
	}
	if response.StatusCode != http.StatusOK {
		var e api.Error
		if err := json.Unmarshal(text, &e); err != nil || e.Msg == "" {
			return api.Errorf(api.Unavailable, "peer", "peer %s answered %s", peer, response.Status)
		}
		return &e
	}
	return json.Unmarshal(text, answer)
}

// channel is what other peers may ask of this one.
func (p *Peer) channel() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /peer/host", func(w http.ResponseWriter, r *http.Request) {
		answerPeer(w, p.hostReport(), nil)
	})
	mux.HandleFunc("POST /peer/admit", func(w http.ResponseWriter, r *http.Request) {
		var q api.JoinRequest
		if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&q); err != nil {
			answerPeer(w, nil, api.Errorf(api.Invalid, "join", "the request does not decode: %w", err))
			return
		}
		a, err := p.admit(r.Context(), q)
		answerPeer(w, a, err)
	})
	mux.HandleFunc("GET /peer/changes", p.serveKept)
	mux.HandleFunc("GET /peer/changes/{range}", p.serveChanges)
	mux.HandleFunc("GET /peer/snapshots", p.serveSnapshots)
	mux.HandleFunc("GET /peer/snapshots/{id}", p.serveSnapshotFile)
	mux.HandleFunc("GET /peer/findings", serveAsked(p.ownFindings))
	mux.HandleFunc("GET /peer/domains", serveAsked(p.ownDomains))
	mux.HandleFunc("POST /peer/vms/{id}/console", p.serveConsole)
	mux.HandleFunc("GET /peer/vms/{id}/console-log", p.serveConsoleLog)
	mux.HandleFunc("GET /peer/vms/{id}/screenshot", p.serveScreenshot)
	mux.HandleFunc("GET /peer/images/{id}", func(w http.ResponseWriter, r *http.Request) { p.images.serve(w, r) })
	mux.HandleFunc("POST /peer/images/{id}", func(w http.ResponseWriter, r *http.Request) { p.images.servePut(w, r) })
	mux.HandleFunc("GET /peer/modules/{digest}", p.serveModule)
	mux.HandleFunc("POST /peer/services/{id}/{function}", p.takeOn(p.serveCall))
	mux.HandleFunc("POST /peer/spells/{id}/run", p.takeOn(func(ctx context.Context, r *http.Request, _ json.RawMessage) (any, error) {
		return p.runHere(ctx, r.PathValue("id"))
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !p.isOpen() {
			answerPeer(w, nil, api.Errorf(api.Unavailable, "peer", "this peer is starting"))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// answerPeer answers on the peer channel: the value, or the error whole.
func answerPeer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		e := &api.Error{Kind: api.Internal, Msg: err.Error()}
		if typed, ok := err.(*api.Error); ok {
			e = typed
		}
		w.WriteHeader(http.StatusUnprocessableEntity)
		v = e
	}
	json.NewEncoder(w).Encode(v) // a peer that went away asks again
}
