package fsm

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
)

// The settings that say when marked snapshots are taken, which of them stay, and
// how long changes are kept. Times are Go durations, such as 1h or 90m.
const (
	SettingSnapshotInterval = "snapshot.interval"  // between two marked snapshots; 0s: only on demand
	SettingSnapshotRetain   = "snapshot.retain"    // how many of the newest stay
	SettingSnapshotDaily    = "snapshot.daily"     // for how many days the first of each day stays
	SettingSnapshotMonthly  = "snapshot.monthly"   // for how many months the first of each month stays
	SettingHistoryRetainFor = "history.retain_for" // how long changes are kept
)

// The settings that ask for trust, as a weight in the package trust-graph: a join, or an
// image, must be signed with a key that weighs as much. 0: nothing need be signed.
const (
	SettingTrustJoin  = "trust.join_weight"
	SettingTrustImage = "trust.image_weight"
)

// choice is a setting that people choose: a leaf of api.Settings. Its name, with
// slashes for dots, is its JSON pointer there.
type choice struct {
	name      string
	form      form
	otherwise string                    // what holds where nothing is set
	wrong     func(value string) string // what is wrong with a value; empty: nothing
}

// form is how the value of a setting, which is text in its table, is written in JSON.
type form int

const (
	asText form = iota
	asNumber
	asBool
)

// choices are all of them but the secrets of JSON Web Tokens, which are sealed.
var choices = []choice{
	{SettingVoters, asNumber, "3", oneOfVoters},
	{SettingSnapshotInterval, asText, "1h", durationFrom(time.Second, true)},
	{SettingSnapshotRetain, asNumber, "24", numberFrom(1)},
	{SettingSnapshotDaily, asNumber, "30", numberFrom(0)},
	{SettingSnapshotMonthly, asNumber, "12", numberFrom(0)},
	{SettingHistoryRetainFor, asText, "9600h", durationFrom(time.Hour, false)},
	{SettingTrustJoin, asNumber, "0", numberFrom(0)},
	{SettingTrustImage, asNumber, "0", numberFrom(0)},
	{SettingJWKS, asText, "", authFault(SettingJWKS)},
	{SettingIssuer, asText, "", authFault(SettingIssuer)},
	{SettingAudience, asText, "", authFault(SettingAudience)},
	{SettingAnonymousRead, asBool, "false", authFault(SettingAnonymousRead)},
	{SettingSMDAnonymous, asBool, "true", authFault(SettingSMDAnonymous)},
	{SettingJWTRole, asText, string(api.RoleAdmin), authFault(SettingJWTRole)},
}

// Bounds of what can be chosen.
const (
	maxKept     = 100_000             // snapshots, days, months
	maxDuration = 876_000 * time.Hour // a hundred years
)

func choiceNamed(name string) (choice, bool) {
	k := slices.IndexFunc(choices, func(c choice) bool { return c.name == name })
	if k < 0 {
		return choice{}, false
	}
	return choices[k], true
}

// SettingFault says what is wrong with a value for one of those settings, as whoever
// seeds them should ask: a wrong seed is as good as none. Empty: nothing.
func SettingFault(name, value string) string {
	c, known := choiceNamed(name)
	if !known {
		return "is no setting that can be changed"
	}
	return c.wrong(value)
}

func oneOfVoters(value string) string {
	if value != "1" && value != "3" && value != "5" {
		return "must be 1, 3 or 5"
	}
	return ""
}

func numberFrom(least int) func(string) string {
	return func(value string) string {
		n, err := strconv.Atoi(value)
		if err != nil || n < least || n > maxKept || strconv.Itoa(n) != value {
			return fmt.Sprintf("must be a whole number from %d to %d", least, maxKept)
		}
		return ""
	}
}

func durationFrom(least time.Duration, orNone bool) func(string) string {
	return func(value string) string {
		d, err := time.ParseDuration(value)
		switch {
		case err == nil && (d >= least && d <= maxDuration || orNone && d == 0):
			return ""
		case orNone:
			return fmt.Sprintf("must be 0s, or a duration from %s to %s such as 90m or 24h", SettingDuration(least), SettingDuration(maxDuration))
		}
		return fmt.Sprintf("must be a duration from %s to %s such as 90m or 24h", SettingDuration(least), SettingDuration(maxDuration))
	}
}

func authFault(name string) func(string) string {
	return func(value string) string { return wrongAuth(name, value) }
}

// SettingDuration is a duration as a setting holds it: the shortest text of it.
func SettingDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// An answer about settings shows all of them. What does that looks at the table, so
// it cannot stand in the table's literal.
func init() { settings.whole = func(r Reader) any { return r.Settings() } }

// settingsPut sets some settings, all or none.
type settingsPut struct {
	Values map[string]string `cbor:"1,keyasint,omitempty"`
	Secret secretWrite       `cbor:"2,keyasint,omitempty"` // of JSON Web Tokens
}

const settingsOp = "settings.set"

func applyPutSettings(tx *Txn, c settingsPut) (object, error) {
	if err := tx.may(api.Update, settingsOp, api.Object{Kind: "setting"}); err != nil {
		return nothing, err
	}
	if fields := c.faults(); len(fields) > 0 {
		return nothing, wrongSettings(fields)
	}
	for name, value := range ordered(c.Values) {
		changeSetting(tx, name, func(s *setting) { s.Value = value })
	}
	if c.Secret.Given {
		changeSetting(tx, SettingJWTSecret, func(s *setting) { s.Sealed = c.Secret.Sealed })
	}
	return object{table: settings}, nil
}

// faults says what is wrong with the values.
func (c settingsPut) faults() (fields []api.FieldError) {
	for name, value := range ordered(c.Values) {
		if detail := SettingFault(name, value); detail != "" {
			fields = append(fields, api.FieldError{Pointer: settingPointer(name), Detail: detail})
		}
	}
	if len(c.Secret.Sealed) > maxAuthValue {
		fields = append(fields, api.FieldError{Pointer: settingPointer(SettingJWTSecret), Detail: fmt.Sprintf("the secrets are larger than %d KiB", maxAuthValue>>10)})
	}
	return fields
}

// settingPointer is the JSON pointer to a setting, or a section, in api.Settings.
func settingPointer(name string) string {
	if name == "" {
		return ""
	}
	return "/" + strings.ReplaceAll(name, ".", "/")
}

func wrongSettings(fields []api.FieldError) error {
	return &api.Error{Kind: api.Invalid, Op: settingsOp, Msg: "the settings are not valid, and none was changed: see errors", Fields: fields}
}

// Settings are what people can choose, where nothing is set with what holds then.
// Secrets are not in it.
func (r Reader) Settings() api.Settings {
	secret, _ := settings.one(r, SettingJWTSecret)
	return api.Settings{
		Voters: r.number(SettingVoters),
		Snapshot: api.SnapshotSettings{Interval: r.chosen(SettingSnapshotInterval), Retain: r.number(SettingSnapshotRetain),
			Daily: r.number(SettingSnapshotDaily), Monthly: r.number(SettingSnapshotMonthly)},
		History: api.HistorySettings{RetainFor: r.chosen(SettingHistoryRetainFor)},
		Trust:   api.TrustSettings{JoinWeight: r.number(SettingTrustJoin), ImageWeight: r.number(SettingTrustImage)},
		Auth: api.AuthSettings{JWTSecretSet: len(secret.Sealed) > 0, JWKS: r.chosen(SettingJWKS), Issuer: r.chosen(SettingIssuer), Audience: r.chosen(SettingAudience),
			AnonymousRead: r.chosen(SettingAnonymousRead) == "true", SMDAnonymous: r.chosen(SettingSMDAnonymous) == "true",
			JWTRole: api.Role(r.chosen(SettingJWTRole))},
	}
}

// chosen is the value of a setting, or what holds where it is not set or, as a seed
// may be, not valid.
func (r Reader) chosen(name string) string {
	c, _ := choiceNamed(name)
	if s, set := settings.one(r, name); set && c.wrong(s.Value) == "" {
		return s.Value
	}
	return c.otherwise
}

func (r Reader) number(name string) int {
	n, _ := strconv.Atoi(r.chosen(name)) // it was checked, and so were the defaults
	return n
}

func (r Reader) duration(name string) time.Duration {
	d, _ := time.ParseDuration(r.chosen(name)) // likewise
	return d
}

// SnapshotInterval is the time between two marked snapshots; 0: only on demand.
func (r Reader) SnapshotInterval() time.Duration { return r.duration(SettingSnapshotInterval) }

// HistoryRetainFor is how long changes are kept.
func (r Reader) HistoryRetainFor() time.Duration { return r.duration(SettingHistoryRetainFor) }

// PatchSettings applies a JSON merge patch (RFC 7396) to the settings, all of it or
// nothing, and gives them as they are then; null puts back what holds where
// nothing is set. Malformed when the patch is no JSON object; Invalid, with a pointer
// to each fault, when it names what is no setting, or a value that one cannot have.
func (w *Writer) PatchSettings(ctx context.Context, patch []byte) (api.Settings, error) {
	read, err := readSettingsPatch(patch)
	if err != nil {
		return api.Settings{}, err
	}
	put := settingsPut{Values: read.values}
	if put.Secret, err = w.sealed(SealJWTSecret, read.secret); err != nil {
		return api.Settings{}, err
	}
	done, err := propose[api.Settings](ctx, w, putSettings, put)
	return done.Object, err
}
