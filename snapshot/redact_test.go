package snapshot

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// vault has a secret in every place that a column can lie in.
type vault struct {
	vaultHead
	ID      string                   `json:"id"`
	PIN     int                      `json:"pin,omitempty" secret:"true"`
	Key     []byte                   `json:"key" secret:"true"`
	Note    json.RawMessage          `json:"note" secret:"true"`
	Opened  time.Time                `json:"opened" secret:"true"`
	Names   []string                 `json:"names" secret:"true"`
	Inner   vaultInner               `json:"inner"`
	Behind  *vaultInner              `json:"behind"`
	Whole   *vaultInner              `json:"whole" secret:"true"`
	List    []vaultInner             `json:"list"`
	Lists   [][]*vaultInner          `json:"lists"`
	Map     map[string]vaultInner    `json:"map"`
	Deep    map[string][]*vaultInner `json:"deep"`
	Open    []small                  `json:"open"`
	private *vault
}

type vaultHead struct {
	Head string `json:"head,omitempty" secret:"true"`
}

type vaultInner struct {
	Plain  string `json:"plain"`
	Secret string `json:"secret,omitempty" secret:"true"`
}

func fullVault() *vault {
	in := func(n int) vaultInner { return vaultInner{fmt.Sprint("plain", n), fmt.Sprint("hidden", n)} }
	at := func(n int) *vaultInner { v := in(n); return &v }
	return &vault{
		vaultHead: vaultHead{"hidden"}, ID: "a", PIN: 1234, Key: []byte("hidden"), Note: json.RawMessage(`"hidden"`),
		Opened: time.Unix(1, 0).UTC(), Names: []string{"hidden"}, Inner: in(1), Behind: at(2), Whole: at(3),
		List: []vaultInner{in(4), in(5)}, Lists: [][]*vaultInner{nil, {}, {at(6), nil}},
		Map: map[string]vaultInner{"x": in(7), "y": {}}, Deep: map[string][]*vaultInner{"x": {at(8)}, "nil": nil},
		Open: []small{{true, 1}}, private: &vault{},
	}
}

func TestRedacted(t *testing.T) {
	plain := func(n int) vaultInner { return vaultInner{Plain: fmt.Sprint("plain", n)} }
	at := func(n int) *vaultInner { v := plain(n); return &v }
	row := fullVault()
	want := &vault{
		ID: "a", Inner: plain(1), Behind: at(2), List: []vaultInner{plain(4), plain(5)}, Lists: [][]*vaultInner{nil, {}, {at(6), nil}},
		Map: map[string]vaultInner{"x": plain(7), "y": {}}, Deep: map[string][]*vaultInner{"x": {at(8)}, "nil": nil},
		Open: []small{{true, 1}}, private: row.private,
	}
	got := Redacted(row)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %s\nwant %s", show(got), show(want))
	}
	if !reflect.DeepEqual(row, fullVault()) {
		t.Errorf("the row itself was changed: %s", show(row))
	}
	if &got.Open[0] != &row.Open[0] {
		t.Error("what holds no secret was copied")
	}
	if got := Redacted(&vault{}); !reflect.DeepEqual(got, &vault{}) {
		t.Errorf("a zero row: got %s", show(got))
	}
	if got := Redacted[vault](nil); got != nil {
		t.Errorf("no row: got %s", show(got))
	}
}

// TestRedactedReadsBack: what is blanked is null in a file.
func TestRedactedReadsBack(t *testing.T) {
	c := MustCodec[vault]()
	clean := Redacted(fullVault())
	clean.private = nil
	data := write(t, c, []*vault{clean})
	got, err := read(c, data)
	if err != nil || !slices.EqualFunc(got, []*vault{clean}, func(a, b *vault) bool { return reflect.DeepEqual(a, b) }) {
		t.Errorf("got %s, %v", show(got), err)
	}
	if strings.Contains(string(data), "hidden") {
		t.Error("the file holds a secret")
	}
}

func TestRedactedWithoutSecrets(t *testing.T) {
	row := &thing{ID: "a"}
	if got := Redacted(row); got != row {
		t.Error("a row without secrets was copied")
	}
}

// TestRedactedAtOnce is for the race detector.
func TestRedactedAtOnce(t *testing.T) {
	type fresh struct {
		Secret string `json:"secret,omitempty" secret:"true"`
	}
	row, clean := &fresh{"hidden"}, make(chan *fresh)
	for range 4 {
		go func() { clean <- Redacted(row) }()
	}
	for range 4 {
		if got := <-clean; got.Secret != "" {
			t.Errorf("got %q", got.Secret)
		}
	}
}

func TestSecretsMustBeOptional(t *testing.T) {
	for want, make := range map[string]func() error{
		"S: a secret must be optional": codecError[struct {
			S string `secret:"true"`
		}],
		"In.N: a secret must be optional": codecError[struct {
			In struct {
				N int `secret:"true"`
			}
		}],
		"G: a secret must be optional": codecError[struct {
			G small `json:",omitempty" secret:"true"`
		}],
		`S: the tag secret is "true" or not there, not "yes"`: codecError[struct {
			S string `json:",omitempty" secret:"yes"`
		}],
		"small: a secret cannot be an embedded struct": codecError[struct {
			small `secret:"true"`
		}],
	} {
		if err := make(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func BenchmarkRedacted(b *testing.B) {
	row := fullVault()
	b.ReportAllocs()
	for b.Loop() {
		Redacted(row)
	}
}
