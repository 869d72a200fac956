package fsm

import (
	"context"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/orchd/orchd/api"
)

// The settings that say who may speak on the routes of the inventory.
const (
	SettingJWTSecret     = "auth.jwt_secret"     // HS256 secrets, one a line; sealed
	SettingJWKS          = "auth.jwks"           // public keys as a JWK set, or the URL of one
	SettingIssuer        = "auth.issuer"         // the iss that a token must have
	SettingAudience      = "auth.audience"       // the aud that a token must hold
	SettingAnonymousRead = "auth.anonymous_read" // true: reads need no credential
	SettingSMDAnonymous  = "auth.smd_anonymous"  // false: what boot servers read of the State Manager API needs one too
	SettingJWTRole       = "auth.jwt_role"       // of a token without the claim orchd_role
)

// SealJWTSecret is the purpose for which the HS256 secrets are sealed.
const SealJWTSecret = SettingJWTSecret

// maxAuthValue bounds a setting in bytes, so that all of them fit into an entry.
const maxAuthValue = 128 << 10

// AuthSettings are those settings, where nothing is set with what holds then.
type AuthSettings struct {
	JWTSecret     []byte // sealed for SealJWTSecret; nil: none
	JWKS          string
	Issuer        string
	Audience      string
	AnonymousRead bool
	SMDAnonymous  bool
	JWTRole       api.Role
}

// AuthChange changes some of them; nil leaves one as it is.
type AuthChange struct {
	JWTSecret     *string // in clear; empty takes it away
	JWKS          *string
	Issuer        *string
	Audience      *string
	AnonymousRead *bool
	SMDAnonymous  *bool
	JWTRole       *api.Role
}

// authSet is AuthChange on its way through the log.
type authSet struct {
	Values map[string]string `cbor:"1,keyasint,omitempty"`
	Secret secretWrite       `cbor:"2,keyasint,omitempty"`
}

// applySetAuth is for admins; the first peer seeds what nobody has set yet.
func applySetAuth(tx *Txn, c authSet) (object, error) {
	const op = "auth.set"
	if _, err := tx.asPeer(op); err != nil || tx.hasAuth() {
		if err := tx.may(api.Update, op, api.Object{Kind: "setting"}); err != nil {
			return nothing, err
		}
	}
	for name, value := range ordered(c.Values) {
		if problem := wrongAuth(name, value); problem != "" {
			return nothing, &api.Error{Kind: api.Invalid, Op: op, Msg: "a setting is not valid: see errors",
				Fields: []api.FieldError{{Pointer: "/" + name, Detail: problem}}}
		}
	}
	if len(c.Secret.Sealed) > maxAuthValue {
		return nothing, api.Errorf(api.Invalid, op, "the secrets are larger than %d KiB", maxAuthValue>>10)
	}
	for name, value := range ordered(c.Values) {
		changeSetting(tx, name, func(s *setting) { s.Value = value })
	}
	if c.Secret.Given {
		changeSetting(tx, SettingJWTSecret, func(s *setting) { s.Sealed = c.Secret.Sealed })
	}
	return nothing, nil
}

// changeSetting changes a setting, or makes it.
func changeSetting(tx *Txn, name string, change func(*setting)) {
	s, _ := settings.one(tx.Reader, name)
	s.Name = name
	change(&s)
	s.Version++
	settings.put(tx, s)
}

// hasAuth tells whether anybody has set any of the settings.
func (r Reader) hasAuth() bool {
	_, seeded := settings.one(r, SettingJWTRole)
	return seeded
}

// wrongAuth says what is wrong with a value; empty: nothing.
func wrongAuth(name, value string) string {
	switch name {
	case SettingJWKS, SettingIssuer, SettingAudience:
		if len(value) > maxAuthValue || !utf8.ValidString(value) {
			return fmt.Sprintf("must be valid UTF-8 of at most %d KiB", maxAuthValue>>10)
		}
	case SettingAnonymousRead, SettingSMDAnonymous:
		if value != "true" && value != "false" {
			return "must be true or false"
		}
	case SettingJWTRole:
		switch api.Role(value) {
		case api.RoleViewer, api.RoleController, api.RoleOperator, api.RoleAdmin:
		default:
			return "must be viewer, controller, operator or admin"
		}
	default:
		return "is no setting of this sort"
	}
	return ""
}

// Auth are the settings in that state.
func (r Reader) Auth() AuthSettings {
	secret, _ := settings.one(r, SettingJWTSecret)
	role := api.Role(r.Setting(SettingJWTRole))
	if role == "" {
		role = api.RoleAdmin
	}
	return AuthSettings{
		JWTSecret: secret.Sealed, JWKS: r.Setting(SettingJWKS), Issuer: r.Setting(SettingIssuer), Audience: r.Setting(SettingAudience),
		AnonymousRead: r.Setting(SettingAnonymousRead) == "true", SMDAnonymous: r.Setting(SettingSMDAnonymous) != "false",
		JWTRole: role,
	}
}

// SettingsChanged is closed when any setting is no longer as it is in that state.
func (r Reader) SettingsChanged() <-chan struct{} { return r.state.trees[settings.pos].changed() }

// SetAuth changes who may speak on the routes of the inventory.
func (w *Writer) SetAuth(ctx context.Context, c AuthChange) error {
	set := authSet{Values: map[string]string{}}
	for name, text := range map[string]*string{SettingJWKS: c.JWKS, SettingIssuer: c.Issuer, SettingAudience: c.Audience, SettingJWTRole: (*string)(c.JWTRole)} {
		if text != nil {
			set.Values[name] = *text
		}
	}
	for name, on := range map[string]*bool{SettingAnonymousRead: c.AnonymousRead, SettingSMDAnonymous: c.SMDAnonymous} {
		if on != nil {
			set.Values[name] = strconv.FormatBool(*on)
		}
	}
	var err error
	if set.Secret, err = w.sealed(SealJWTSecret, c.JWTSecret); err != nil {
		return err
	}
	_, err = propose[struct{}](ctx, w, setAuth, set)
	return err
}
