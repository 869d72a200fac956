package schema

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

// agree fails when the two readings of a body do not come to the same: the one
// that goes fast and the one that asks the schema.
func agree[T any](t *testing.T, kind string, body []byte, read func(*scanner, *T) bool) {
	t.Helper()
	s := scanner{text: string(body)}
	var v T
	fast := read(&s, &v) && s.ended()
	slow := Validate(kind, body) == nil
	if fast != slow {
		t.Fatalf("%s: fast %t, by the schema %t (%v):\n%q", kind, fast, slow, faultsIn(Validate(kind, body)), body)
	}
	_, err := one(kind, body, read)
	if (err == nil) != fast || strings.Contains(faultsIn(err), "not understood") {
		t.Fatalf("%s: got %v for\n%q", kind, faultsIn(err), body)
	}
	if !fast {
		return
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("what was read is no JSON: %v: %+v", err, v)
	}
	again, err := one(kind, text, read)
	if err != nil || !reflect.DeepEqual(v, again) {
		t.Fatalf("%s: read again, %v:\ngot  %+v\nwant %+v", kind, faultsIn(err), again, v)
	}
}

func seeds(f *testing.F) {
	for _, name := range []string{"full_node.json"} {
		f.Add(sample(f, name))
	}
	for _, body := range []string{
		`{` + good + `,"xname":"x1000c0s0b0n0"}`, `{"name":"a","type":"tenant","nodes":["x1000c0s0b0n0"],"cloud_init_data":{"a":"b"}}`,
		`{"username":"a","password":"b","ip_address":"1.2.3.4","version":1e2}`, `{"a":[[[]]],"\u00e9":"\ud83d\ude00"}`, `{"created_at":"2026-11-01T12:00:00,5Z"}`,
	} {
		f.Add([]byte(body))
	}
}

func FuzzDecodeNode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		agree(t, "ComputeNode", body, readNode)
		_, single := DecodeNode(body)
		nodes, _, err := DecodeNodes([]byte("[" + string(body) + "]"))
		if single == nil && api.IsKind(err, api.Malformed) && strings.Contains(faultsIn(err), "deep") {
			return // the array is one level more
		}
		if isObject(body) && (single == nil) != (err == nil && len(nodes) == 1) {
			t.Fatalf("alone %v, in an array %v: %q", faultsIn(single), faultsIn(err), body)
		}
	})
}

// isObject tells whether text is one JSON object and nothing else.
func isObject(text []byte) bool {
	return json.Valid(text) && bytes.HasPrefix(bytes.TrimSpace(text), []byte("{"))
}

func FuzzDecodeBMC(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) { agree(t, "BMC", body, readBMC) })
}

func FuzzDecodeCollection(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) { agree(t, "NodeCollection", body, readCollection) })
}

// A patch is taken or refused as JSON; what comes out is JSON that has what the patch says.
func FuzzMerge(f *testing.F) {
	seeds(f)
	f.Add([]byte(`{"location_string":"x1000c0s0b0n1","bmc":{"password":null},"cloud_init_data":null,"spec":null}`))
	current, err := DecodeNode(sample(f, "full_node.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, patch []byte) {
		for _, current := range []any{current, inventory.BMC{XName: "x1000c0s0b0"}, inventory.NodeCollection{Name: "a"}} {
			out, err := Merge(current, patch)
			if err != nil {
				if !api.IsKind(err, api.Malformed) && !api.IsKind(err, api.Invalid) {
					t.Fatalf("%q: %v", patch, err)
				}
				continue
			}
			if !isObject(patch) || !isObject(out) {
				t.Fatalf("%q gave %q", patch, out)
			}
			again, err := Merge(current, patch)
			if err != nil || !bytes.Equal(out, again) {
				t.Fatalf("%q: got %q, then %q, %v", patch, out, again, err)
			}
		}
	})
}

// The readings agree on bodies that are nearly right: a good one with some pieces
// swapped, dropped, doubled or put from elsewhere.
func TestFastAndSchemaAgree(t *testing.T) {
	pieces := []string{`null`, `""`, `"x"`, `{}`, `[]`, `0`, `-0`, `1.0`, `1e999`, `true`, `"10.1.0.7"`, `"x1000c0s0b0n0"`, `"x1000c0s0b256n0"`, `,`, `}`, ` `, `"a":1,`, `\u0000`,
		`"xname":"",`, `"ip_address":"10.9.9.9",`, `"2026-11-01T12:00:00Z"`, `"0b9f2d1e-0000-4000-8000-000000000001"`, `"68dae64bb09a"`, "\xff", `\ud800`, `é`, "\u0085", `"job"`}
	rng := rand.New(rand.NewPCG(1, 2))
	whole := sample(t, "full_node.json")
	collection := []byte(`{"name":"a","type":"tenant","nodes":["x1000c0s0b0n0"],"cloud_init_data":{"a":"b"},"tags":["t"],"version":1,"created_at":"2026-11-01T12:00:00Z"}`)
	bmc := whole[bytes.Index(whole, []byte(`"bmc": `))+7 : bytes.Index(whole, []byte(`,
  "description": ""`))]
	taken := 0
	for range 6000 {
		agree(t, "ComputeNode", mutated(rng, whole, pieces), readNode)
		agree(t, "NodeCollection", mutated(rng, collection, pieces), readCollection)
		body := mutated(rng, bmc, pieces)
		agree(t, "BMC", body, readBMC)
		if Validate("BMC", body) == nil {
			taken++
		}
	}
	if taken < 300 || taken > 5700 {
		t.Errorf("%d of 6000 BMCs were taken: the mutations are too strong or too weak", taken)
	}
}

// mutated is body with one token replaced by a piece, or one byte range dropped or doubled.
func mutated(rng *rand.Rand, body []byte, pieces []string) []byte {
	tokens := tokenEnds(body)
	i := rng.IntN(len(tokens) - 1)
	from, to := tokens[i], tokens[i+1]
	piece := []byte(pieces[rng.IntN(len(pieces))])
	switch rng.IntN(4) {
	case 0:
		to = from // put in
	case 1:
		piece = nil // dropped
	case 2:
		j := rng.IntN(len(tokens) - 1)
		piece = body[tokens[j]:tokens[j+1]] // from elsewhere
	}
	out := append([]byte{}, body[:from]...)
	return append(append(out, piece...), body[to:]...)
}

// tokenEnds are the places between the tokens of a JSON text.
func tokenEnds(body []byte) []int {
	ends := []int{0}
	inString := false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			if inString {
				ends = append(ends, i+1)
			} else if ends[len(ends)-1] != i {
				ends = append(ends, i)
			}
			inString = !inString
		case !inString && bytes.IndexByte([]byte("{}[],: \n"), c) >= 0:
			if ends[len(ends)-1] != i {
				ends = append(ends, i)
			}
			ends = append(ends, i+1)
		}
	}
	return ends
}
