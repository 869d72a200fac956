package fsm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/jwt"
	"github.com/orchd/orchd/api/nearest"
)

// settingsPatch is what a merge patch says of the settings. Each is a leaf, so
// what it says of one does not depend on what that is now.
type settingsPatch struct {
	values map[string]string
	secret *string // of JSON Web Tokens, in clear; nil: it stays
	faults []api.FieldError
}

// readSettingsPatch reads a merge patch of api.Settings.
func readSettingsPatch(patch []byte) (*settingsPatch, error) {
	p := &settingsPatch{values: map[string]string{}}
	if !isObject(patch) {
		return nil, &api.Error{Kind: api.Malformed, Op: settingsOp, Msg: "a patch of the settings is a JSON object, such as {\"snapshot\":{\"retain\":48}}"}
	}
	p.members("", patch)
	for _, c := range choices { // in one order, whatever that of the patch
		if value, given := p.values[c.name]; given {
			p.check(c, value)
		}
	}
	if len(p.faults) > 0 {
		return nil, wrongSettings(p.faults)
	}
	return p, nil
}

// isObject tells whether b is one JSON object and nothing behind it.
func isObject(b []byte) bool {
	return json.Valid(b) && bytes.HasPrefix(bytes.TrimSpace(b), []byte("{"))
}

func (p *settingsPatch) wrong(name, detail string) {
	p.faults = append(p.faults, api.FieldError{Pointer: settingPointer(name), Detail: detail})
}

// members reads an object of the patch: all of it, or the section that is named
// with a dot behind it.
func (p *settingsPatch) members(section string, object json.RawMessage) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil {
		p.wrong(strings.TrimSuffix(section, "."), "must be an object")
		return
	}
	for member, value := range ordered(members) {
		name := section + member
		c, known := choiceNamed(name)
		switch {
		case strings.ContainsAny(member, "./~"): // no setting has, and a pointer would have to escape it
			p.wrong(strings.TrimSuffix(section, "."), fmt.Sprintf("has no setting %q", member))
		case name == SettingJWTSecret:
			p.readSecret(value)
		case known:
			p.read(c, value)
		case isSection(name + "."):
			p.section(name+".", value)
		default:
			p.wrong(name, unknownSetting(section, member))
		}
	}
}

func isSection(prefix string) bool { return len(inSection(prefix)) > 0 }

// inSection are the settings whose names begin with a prefix.
func inSection(prefix string) (list []choice) {
	for _, c := range choices {
		if strings.HasPrefix(c.name, prefix) {
			list = append(list, c)
		}
	}
	return list
}

// section reads what the patch says of a section; null puts all of it back.
func (p *settingsPatch) section(prefix string, value json.RawMessage) {
	switch {
	case isNull(value):
		for _, c := range inSection(prefix) {
			p.values[c.name] = c.otherwise
		}
		if strings.HasPrefix(SettingJWTSecret, prefix) {
			p.secret = new("")
		}
	case !isObject(value):
		p.wrong(strings.TrimSuffix(prefix, "."), "must be an object")
	default:
		p.members(prefix, value)
	}
}

func isNull(value json.RawMessage) bool { return string(value) == "null" }

// unknownSetting says that a member of a section, or of the whole, is none.
func unknownSetting(section, member string) string {
	if section+member == SettingJWTSecret+"_set" {
		return "is only to be read; set jwt_secret"
	}
	var names []string
	for _, c := range append(inSection(section), choice{name: SettingJWTSecret}) {
		if rest, ok := strings.CutPrefix(c.name, section); ok {
			name, _, _ := strings.Cut(rest, ".")
			names = append(names, name)
		}
	}
	if meant := nearest.Of(member, names); meant != "" {
		return "is no setting; did you mean " + meant + "?"
	}
	return "is no setting"
}

// read takes the value of a setting.
func (p *settingsPatch) read(c choice, value json.RawMessage) {
	if isNull(value) {
		p.values[c.name] = c.otherwise
		return
	}
	text, ok := c.form.text(value)
	if !ok {
		p.wrong(c.name, c.form.wanted())
		return
	}
	p.values[c.name] = text
}

func (p *settingsPatch) readSecret(value json.RawMessage) {
	secret, ok := "", true
	if !isNull(value) {
		secret, ok = asText.text(value)
	}
	switch {
	case !ok:
		p.wrong(SettingJWTSecret, asText.wanted())
	case len(secret) > maxSecret:
		p.wrong(SettingJWTSecret, fmt.Sprintf("must be at most %d KiB", maxSecret>>10))
	default:
		p.secret = &secret
	}
}

// maxSecret bounds the secrets in clear, in bytes: sealed they must fit too.
const maxSecret = 64 << 10

// check says what is wrong with a value. What apply may not judge, because a later
// release may see it otherwise, is seen to here.
func (p *settingsPatch) check(c choice, value string) {
	detail := c.wrong(value)
	if detail == "" && c.name == SettingJWKS {
		detail = wrongKeys(value)
	}
	if detail != "" {
		p.wrong(c.name, detail)
	}
}

// wrongKeys says why no token could be judged by a value of SettingJWKS.
func wrongKeys(value string) string {
	var err error
	switch {
	case value == "":
	case strings.HasPrefix(strings.TrimSpace(value), "{"):
		err = jwt.Config{JWKS: []byte(value)}.Validate()
	default:
		err = jwt.ValidURL(value)
	}
	if err != nil {
		return "must be a JWK set (RFC 7517), or the URL of one: https, or http on loopback"
	}
	return ""
}

// text is a JSON value as its table holds it; false when it is of another form.
func (f form) text(value json.RawMessage) (text string, ok bool) {
	var err error
	switch f {
	case asNumber:
		var n int64
		err = json.Unmarshal(value, &n)
		text = strconv.FormatInt(n, 10)
	case asBool:
		var on bool
		err = json.Unmarshal(value, &on)
		text = strconv.FormatBool(on)
	default:
		err = json.Unmarshal(value, &text)
	}
	return text, err == nil
}

func (f form) wanted() string {
	switch f {
	case asNumber:
		return "must be a whole number"
	case asBool:
		return "must be true or false"
	}
	return "must be a string"
}
