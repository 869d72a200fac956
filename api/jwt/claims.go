package jwt

import (
	"encoding/json"
	"math"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/orchd/orchd/api"
)

// maxName bounds the claims that name someone, in characters.
const maxName = 200

// claims are what a token says of its bearer (RFC 7519, section 4), by their
// exact names: encoding/json would take SUB for sub.
type claims map[string]json.RawMessage

func readClaims(payload []byte) (c claims, err error) {
	if json.Unmarshal(payload, &c) != nil || c == nil {
		return nil, because(ErrUnauthorized, "its payload is no JSON object")
	}
	return c, nil
}

// actor is who the claims name, if they hold now.
//
// The claim exp may be missing, as it may for the clients that these tokens come
// from: sub, iss and aud are all that a token must have. One without exp is good
// until the key that signed it is taken out.
func (v *Verifier) actor(c claims) (api.Actor, error) {
	if err := c.holdAt(v.cfg.Now()); err != nil {
		return api.Actor{}, err
	}
	for _, name := range []string{"sub", "iss", "aud"} {
		if c.isMissing(name) {
			return api.Actor{}, because(ErrMissing, name)
		}
	}
	if err := v.isForUs(c); err != nil {
		return api.Actor{}, err
	}
	return v.named(c)
}

// holdAt checks the time (RFC 7519, sections 4.1.4 and 4.1.5).
func (c claims) holdAt(now time.Time) error {
	if ends, ok := c["exp"]; ok {
		at, ok := numericDate(ends)
		if !ok {
			return because(ErrUnauthorized, "its exp is no date")
		}
		if !now.Before(at.Add(skew)) {
			return ErrExpired
		}
	}
	if begins, ok := c["nbf"]; ok {
		at, ok := numericDate(begins)
		if !ok || now.Add(skew).Before(at) {
			return because(ErrUnauthorized, "it is not valid yet")
		}
	}
	return nil
}

// numericDate is a number of seconds since 1970, fractions allowed (RFC 7519, section 2).
func numericDate(raw json.RawMessage) (time.Time, bool) {
	const year10000 = 253402300800
	var seconds *float64
	if json.Unmarshal(raw, &seconds) != nil || seconds == nil || math.Abs(*seconds) > year10000 {
		return time.Time{}, false
	}
	whole, part := math.Modf(*seconds)
	return time.Unix(int64(whole), int64(part*1e9)), true
}

// isMissing tells whether a claim is not there, or says nothing.
func (c claims) isMissing(name string) bool {
	switch string(c[name]) {
	case "", "null", `""`, "[]":
		return true
	}
	return false
}

// isForUs compares iss and aud with what they must be.
func (v *Verifier) isForUs(c claims) error {
	var issuer string
	if json.Unmarshal(c["iss"], &issuer) != nil || v.cfg.Issuer != "" && issuer != v.cfg.Issuer {
		return because(ErrUnauthorized, "another issuer made it")
	}
	audience, ok := audienceOf(c["aud"])
	if !ok || v.cfg.Audience != "" && !slices.Contains(audience, v.cfg.Audience) {
		return because(ErrUnauthorized, "it is for another audience")
	}
	return nil
}

// audienceOf reads aud, a text or a list of them (RFC 7519, section 4.1.3).
func audienceOf(raw json.RawMessage) (list []string, ok bool) {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, true
	}
	return list, json.Unmarshal(raw, &list) == nil
}

// named is the actor that the claims make.
func (v *Verifier) named(c claims) (api.Actor, error) {
	var subject, tenant, partition string
	for name, into := range map[string]*string{"sub": &subject, "tenant_id": &tenant, "partition_id": &partition} {
		if raw, there := c[name]; there && (json.Unmarshal(raw, into) != nil || !isName(*into)) {
			return api.Actor{}, because(ErrUnauthorized, "its "+name+" is no text of at most 200 printable characters")
		}
	}
	role := v.cfg.Role
	if raw, there := c["orchd_role"]; there {
		role = "" // a role that cannot be read is none, not the default, which may be more
		_ = json.Unmarshal(raw, &role)
	}
	if !IsRole(role) {
		return api.Actor{}, because(ErrUnauthorized, "its role is none of viewer, operator, controller and admin")
	}
	return api.Actor{ID: "jwt:" + subject, Role: role, Tenant: tenant, Partition: partition}, nil
}

// isName tells whether s can stand in a log line and in a record.
func isName(s string) bool {
	if utf8.RuneCountInString(s) > maxName {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}
