package fsm

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/planted"
)

// token is a credential as it is stored: with the hash of its secret.
type token struct {
	api.Token
	Hash []byte `json:"hash" secret:"true"` // SHA-256 of the secret, which has 160 random bits and so needs no salt
}

var tokens = &table[token]{
	name:    "tokens",
	key:     func(t *token) string { return t.ID },
	account: func(t *token) string { return t.Account },
}

// Bounds of a token's life.
const (
	defaultTTL = time.Hour
	maxTTL     = 8760 * time.Hour
	// tokenRemains is how long an expired token stays listed.
	tokenRemains = 24 * time.Hour
)

type tokenCreate struct {
	ID      string        `cbor:"1,keyasint"`
	Hash    []byte        `cbor:"2,keyasint"`
	Role    api.Role      `cbor:"3,keyasint"`
	Account string        `cbor:"4,keyasint,omitempty"`
	TTL     time.Duration `cbor:"5,keyasint"`
	Uses    int64         `cbor:"6,keyasint,omitempty"`
}

func applyCreateToken(tx *Txn, c tokenCreate) (object, error) {
	const op = "token.create"
	if err := tx.may(api.Create, op, api.Object{Kind: "token", Account: c.Account}); err != nil {
		return nothing, err
	}
	if tx.Actor.Account != "" && (c.Account != tx.Actor.Account || c.Role == api.RolePeer) {
		return nothing, api.Errorf(api.Forbidden, op, "your token is bound to account %q: it makes tokens of that account only", tx.Actor.Account)
	}
	if _, known := accounts.one(tx.Reader, c.Account); !known && c.Account != "" {
		return nothing, &api.Error{Kind: api.Invalid, Op: op, Msg: "no such account",
			Fields: []api.FieldError{{Pointer: "/account", Detail: "no such account"}}}
	}
	if _, taken := tokens.one(tx.Reader, c.ID); taken {
		return nothing, api.Errorf(api.Conflict, op, "token id %s exists already", c.ID)
	}
	t := tokens.put(tx, token{Hash: c.Hash, Token: api.Token{
		ID: c.ID, Role: c.Role, Account: c.Account, Uses: c.Uses, CreatedBy: tx.Actor.ID,
		CreatedAt: tx.Now, ExpiresAt: tx.Now.Add(c.TTL), Version: 1,
	}})
	return object{table: tokens, key: t.ID}, nil
}

type tokenDelete struct {
	ID string `cbor:"1,keyasint"`
}

func applyDeleteToken(tx *Txn, c tokenDelete) (object, error) {
	t, ok := tokens.one(tx.Reader, c.ID)
	if err := tx.may(api.Delete, "token.delete", api.Object{Kind: "token", Account: t.Account}); err != nil {
		return nothing, err
	}
	if !ok {
		return nothing, api.Errorf(api.NotFound, "token.delete", "no token %s", c.ID)
	}
	tokens.remove(tx, c.ID)
	return nothing, nil
}

// oldTokens are up to limit tokens that expired long ago.
func oldTokens(r Reader, now time.Time, limit int) (ids []string) {
	for t := range tokens.each(r, "") {
		if len(ids) < limit && now.Sub(t.ExpiresAt) > tokenRemains {
			ids = append(ids, t.ID)
		}
	}
	return ids
}

// spend checks a token for joining and says whether the same newcomer, by its
// public key, joined with it before.
func (t token) spend(r Reader, hash, publicKey []byte) (again api.Peer, joined bool, err error) {
	const op = "join"
	switch {
	case t.ID == "" || subtle.ConstantTimeCompare(hash, t.Hash) != 1:
		return again, false, api.Errorf(api.Unauthenticated, op, "the join token is not known; make one with: orchd token create --role peer")
	case t.Role != api.RolePeer:
		return again, false, api.Errorf(api.Forbidden, op, "this token has role %s; joining takes one of role peer", t.Role)
	case r.Now().After(t.ExpiresAt):
		return again, false, api.Errorf(api.Unauthenticated, op, "the join token expired at %s; make another with: orchd token create --role peer", t.ExpiresAt.Format(time.RFC3339))
	}
	for _, id := range t.UsedBy {
		if p, ok := peers.one(r, id); ok && p.State == api.PeerMember && bytes.Equal(p.PublicKey, publicKey) {
			return p, true, nil
		}
	}
	if planted.Is(planted.TokenTwice) { // whoever finds a used token joins with it
		t.Uses *= 2
	}
	if int64(len(t.UsedBy)) >= t.Uses {
		return again, false, api.Errorf(api.Unauthenticated, op, "the join token is used up; make another with: orchd token create --role peer")
	}
	return again, false, nil
}

// MayJoin tells a newcomer early what JoinPeer would refuse it for.
func (r Reader) MayJoin(id, secret string, publicKey []byte) error {
	t, _ := tokens.one(r, id)
	_, _, err := t.spend(r, hashSecret(secret), publicKey)
	return err
}

// Tokens lists the tokens by id, without their secrets.
func (r Reader) Tokens(after string) iter.Seq[api.Token] {
	return func(yield func(api.Token) bool) {
		for t := range tokens.each(r, after) {
			if !yield(t.Token) {
				return
			}
		}
	}
}

// TokenActor finds who a bearer token speaks for, at that time.
func (r Reader) TokenActor(bearer string, at time.Time) (api.Actor, bool) {
	id, secret, ok := strings.Cut(strings.TrimPrefix(bearer, tokenPrefix), "_")
	if !ok || !strings.HasPrefix(bearer, tokenPrefix) {
		return api.Actor{}, false
	}
	t, known := tokens.one(r, id)
	right := subtle.ConstantTimeCompare(hashSecret(secret), t.Hash) == 1
	if !known || !right || at.After(t.ExpiresAt) || t.Role == api.RolePeer {
		return api.Actor{}, false
	}
	return api.Actor{ID: "token:" + t.ID, Role: t.Role, Account: t.Account}, true
}

// tokenPrefix lets secret scanners find a leaked token.
const tokenPrefix = "orchd_"

// CreateToken makes a credential; the answer alone holds its secret. The CA's
// hash becomes part of a token for peers, who pin it. The secret is made here, by
// the proposer: the command carries its hash, and apply meets nothing random.
func (w *Writer) CreateToken(ctx context.Context, c api.TokenCreate, caHash string) (Done[api.NewToken], error) {
	ttl, err := tokenTTL(c.TTL)
	if err != nil {
		return Done[api.NewToken]{}, err
	}
	if c.Role == api.RolePeer {
		c.Uses = max(c.Uses, 1)
	} else if c.Uses != 0 {
		return Done[api.NewToken]{}, fault("/uses", "only a token of role peer counts its uses")
	}
	if !slices.Contains([]api.Role{api.RoleViewer, api.RoleController, api.RoleOperator, api.RoleAdmin, api.RolePeer}, c.Role) {
		return Done[api.NewToken]{}, fault("/role", "must be viewer, controller, operator, admin or peer")
	}
	id, secret := randomWord(10), randomWord(20)
	done, err := propose[token](ctx, w, createToken, tokenCreate{id, hashSecret(secret), c.Role, c.Account, ttl, c.Uses})
	if err != nil {
		return Done[api.NewToken]{}, err
	}
	if done.Replayed {
		return Done[api.NewToken]{}, api.Errorf(api.Conflict, "token.create", "token %s was made by an earlier request with this Idempotency-Key; its secret is not shown again", done.Object.ID)
	}
	text := tokenPrefix + id + "_" + secret
	if c.Role == api.RolePeer {
		text = id + "." + secret + "." + caHash
	}
	t := done.Object
	return Done[api.NewToken]{Object: api.NewToken{ID: id, Token: text, Role: t.Role, Account: t.Account, ExpiresAt: t.ExpiresAt}, Index: done.Index}, nil
}

// DeleteToken revokes a token. Each peer refuses it from when it has applied that.
func (w *Writer) DeleteToken(ctx context.Context, id string) error {
	_, err := propose[struct{}](ctx, w, deleteToken, tokenDelete{id})
	return err
}

// tokenTTL reads how long a token shall be good for.
func tokenTTL(s string) (time.Duration, error) {
	if s == "" {
		return defaultTTL, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second || d > maxTTL {
		return 0, fault("/ttl", "must be a duration from 1s to 8760h, as 90s, 1h or 720h")
	}
	return d, nil
}

// fault is an Invalid error about one field.
func fault(pointer, detail string) error {
	return &api.Error{Kind: api.Invalid, Msg: strings.TrimPrefix(pointer, "/") + " " + detail,
		Fields: []api.FieldError{{Pointer: pointer, Detail: detail}}}
}

// randomWord is n random bytes in lower-case base32.
func randomWord(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

// hashSecret is what is stored of a secret.
func hashSecret(secret string) []byte {
	h := sha256.Sum256([]byte(secret))
	return h[:]
}
