package peer

import (
	"context"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/jwt"
	"github.com/orchd/orchd/api/server"
	"github.com/orchd/orchd/fsm"
)

// access judges JSON Web Tokens by the settings that this peer has applied.
type access struct {
	mu       sync.Mutex
	verifier *jwt.Verifier // nil: not made yet
	made     fsm.AuthSettings
	stale    <-chan struct{} // closed when another setting may have taken the place of one of those
}

// AuthenticateInventory finds who a bearer token speaks for on the routes of the
// inventory: a JSON Web Token by the settings, any other by the tokens table.
func (p *Peer) AuthenticateInventory(ctx context.Context, bearer string) (api.Actor, error) {
	if !jwt.Looks(bearer) {
		actor, err := p.Authenticate(ctx, bearer)
		if api.IsKind(err, api.Unauthenticated) {
			err = jwt.ErrUnauthorized // the words that these clients know
		}
		return actor, err
	}
	v, _, err := p.verifier()
	if err != nil {
		p.log.Error("json web tokens cannot be judged", "err", err)
		return api.Actor{}, api.Errorf(api.Unavailable, "token", "tokens cannot be judged on this peer just now; its log says why")
	}
	return v.Verify(ctx, bearer)
}

// Anonymous says what is answered to who brings no credential.
func (p *Peer) Anonymous() server.Anonymous {
	a := p.machine.Read().Auth()
	return server.Anonymous{Reads: a.AnonymousRead, SMD: a.SMDAnonymous}
}

// verifier is made anew when a setting has changed of which it is made: it holds
// keys that may be hard to get again. The channel is closed when it is stale.
func (p *Peer) verifier() (*jwt.Verifier, <-chan struct{}, error) {
	a := &p.access
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.verifier != nil && !isClosed(a.stale) {
		return a.verifier, a.stale, nil
	}
	now := p.machine.Read()
	settings, stale := now.Auth(), now.SettingsChanged()
	if a.verifier == nil || !reflect.DeepEqual(settings, a.made) {
		v, err := p.newVerifier(settings)
		if err != nil {
			return nil, stale, err
		}
		a.verifier, a.made = v, settings
	}
	a.stale = stale
	return a.verifier, stale, nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (p *Peer) newVerifier(a fsm.AuthSettings) (*jwt.Verifier, error) {
	cfg := jwt.Config{Issuer: a.Issuer, Audience: a.Audience, Role: a.JWTRole, Now: p.cfg.Now}
	if strings.HasPrefix(strings.TrimSpace(a.JWKS), "{") {
		cfg.JWKS = []byte(a.JWKS)
	} else {
		cfg.JWKSURL = a.JWKS
	}
	secret, err := p.jwtSecret(a)
	if err != nil {
		return nil, err
	}
	cfg.Secrets = jwt.Secrets(secret)
	return jwt.New(cfg)
}

// jwtSecret is the content of the secret file in clear; nil when there is none.
func (p *Peer) jwtSecret(a fsm.AuthSettings) ([]byte, error) {
	if len(a.JWTSecret) == 0 {
		return nil, nil
	}
	return p.openSealed(fsm.SealJWTSecret, a.JWTSecret)
}

// refreshKeys keeps the public keys at a URL fresh, whichever URL the settings name.
func (p *Peer) refreshKeys(ctx context.Context) error {
	for ctx.Err() == nil {
		v, stale, err := p.verifier()
		if err == nil {
			p.refreshKeysOf(ctx, v, stale)
			continue
		}
		select { // what cannot be made of these settings may be made of the next
		case <-ctx.Done():
		case <-stale:
		}
	}
	return nil
}

// refreshKeysOf does so until the verifier is stale.
func (p *Peer) refreshKeysOf(ctx context.Context, v *jwt.Verifier, stale <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		v.Run(ctx, func(err error) {
			p.log.Warn("public keys not fetched; those at hand stay, tried again in 15 minutes", "err", err)
		})
	})
	select {
	case <-ctx.Done():
	case <-stale:
	}
	cancel()
	running.Wait()
}

// currentWait is how long to wait before asking again whether this peer is current.
const currentWait = time.Second

// sayIfOtherwise warns, once this peer is current, of what it was told and the cluster does not go by.
func (p *Peer) sayIfOtherwise(ctx context.Context) error {
	for p.node.ReadIndex(ctx) != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(currentWait):
		}
	}
	for _, name := range p.otherwise(p.machine.Read()) {
		p.log.Warn("the configuration says otherwise than the cluster's setting, and the setting holds; it was seeded when the cluster was made", "setting", name)
	}
	return nil
}

// otherwise names the settings of which this peer was told another value.
func (p *Peer) otherwise(r fsm.Reader) (names []string) {
	told, a := p.cfg.Auth, r.Auth()
	differs := func(name string, is bool) {
		if is {
			names = append(names, name)
		}
	}
	if told.JWTSecret != nil {
		held, err := p.jwtSecret(a)
		differs(fsm.SettingJWTSecret, err != nil || string(held) != *told.JWTSecret)
	}
	differs(fsm.SettingJWKS, told.JWKS != nil && *told.JWKS != a.JWKS)
	differs(fsm.SettingIssuer, told.Issuer != nil && *told.Issuer != a.Issuer)
	differs(fsm.SettingAudience, told.Audience != nil && *told.Audience != a.Audience)
	differs(fsm.SettingAnonymousRead, told.AnonymousRead != nil && *told.AnonymousRead != a.AnonymousRead)
	differs(fsm.SettingSMDAnonymous, told.SMDAnonymous != nil && *told.SMDAnonymous != a.SMDAnonymous)
	differs(fsm.SettingJWTRole, told.JWTRole != nil && *told.JWTRole != a.JWTRole)
	return names
}
