package starlark

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	sl "go.starlark.net/starlark"
)

func TestJSONThereAndBack(t *testing.T) {
	for _, text := range []string{
		`null`, `true`, `false`, `0`, `-7`, `9223372036854775808`, `-123456789012345678901234567890`, `1.0`, `0.1`, `1e+300`,
		`""`, `"ä\n\t\"\\/"`, `"\u0001"`, `[]`, `[1,[2,[]]]`, `{}`, `{"z":1,"a":{"y":2,"b":null}}`,
	} {
		v, err := FromJSON([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := ToJSON(v); err != nil || string(got) != text {
			t.Errorf("got %s, %v, want %s", got, err, text)
		}
	}
}

func TestJSONThatIsNone(t *testing.T) {
	for _, text := range []string{``, `{`, `[1,]`, `{"a" 1}`, `nul`, `"`, `01`, `{1:2}`, strings.Repeat("[", maxNested+1) + strings.Repeat("]", maxNested+1)} {
		if v, err := FromJSON([]byte(text)); err == nil {
			t.Errorf("%.20s: got %v, want an error", text, v)
		}
	}
}

func TestValuesWithoutJSON(t *testing.T) {
	dict := sl.NewDict(1)
	if err := dict.SetKey(sl.MakeInt(1), sl.None); err != nil {
		t.Fatal(err)
	}
	inItself := sl.NewList(nil)
	if err := inItself.Append(inItself); err != nil {
		t.Fatal(err)
	}
	for _, v := range []sl.Value{dict, inItself, sl.Bytes("x"), sl.Universe["len"], sl.String(strings.Repeat("x", maxText+1)), sl.Float(infinite())} {
		if got, err := ToJSON(v); err == nil {
			t.Errorf("%.20s: got %.20s, want an error", v.Type(), got)
		}
	}
	if got, err := ToJSON(sl.String("a\xffb")); err != nil || string(got) != "\"a\uFFFDb\"" {
		t.Errorf("got %s, %v", got, err)
	}
}

func infinite() float64 {
	x := 1e300
	return x * x
}

// What encoding/json reads, Starlark reads as the same, and gives back.
func FuzzJSONToStarlark(f *testing.F) {
	for _, text := range []string{`{"a":[1,2.5,"x",null,true]}`, `"\ud800"`, `"\u00e4"`, `-0`, `1E5`, ` [ ] `, `{"a":1,"a":2}`, `12345678901234567890123`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := FromJSON(text)
		if err != nil {
			return
		}
		back, err := ToJSON(v)
		if err != nil {
			t.Fatalf("%q became %v, and that: %v", text, v, err)
		}
		if !json.Valid(back) || !utf8.Valid(back) {
			t.Fatalf("%q became %v, and that %q", text, v, back)
		}
		if !json.Valid(text) || !utf8.Valid(text) {
			return
		}
		var want, got any
		if json.Unmarshal(text, &want) == nil && (json.Unmarshal(back, &got) != nil || !reflect.DeepEqual(got, want)) {
			t.Fatalf("%q became %v, and that %q", text, v, back)
		}
		again, err := FromJSON(back)
		if err != nil {
			t.Fatalf("%q: %v", back, err)
		}
		if twice, err := ToJSON(again); err != nil || !bytes.Equal(twice, back) {
			t.Fatalf("%q became %q, %v", back, twice, err)
		}
	})
}
