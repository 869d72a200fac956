package xname

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestCanonical(t *testing.T) {
	for given, want := range map[string]string{
		"":                  "",
		"x3c0":              "x3c0",
		"x0003C0":           "x3c0",
		"X1000C4S4B1N1":     "x1000c4s4b1n1",
		"x0000c0s00b000n00": "x0c0s0b0n0",
		"x100c0":            "x100c0",
		"x1001":             "x1001",
		"x00100":            "x100",
		"007":               "7",
		"0":                 "0",
		"p01.002":           "p1.2",
		"ALL_COMP":          "all_comp",
		"a00é01":            "a0é1",
		"É":                 "É",
		"\u212a1":           "\u212a1", // the Kelvin sign is no k
		"x\xff01":           "x\xff1",
		" x01 ":             " x1 ",
	} {
		if got := Canonical(given); got != want {
			t.Errorf("Canonical(%q) = %q, want %q", given, got, want)
		}
	}
}

func TestParent(t *testing.T) {
	for given, want := range map[string]string{
		"X0100C04S4B1N01G2K3": "x100c4s4b1n1g2",
		"x1000c4s4b1n1":       "x1000c4s4b1",
		"x1000c4s4b1":         "x1000c4s4",
		"x1000c4s4":           "x1000c4",
		"x1000c4":             "x1000",
		"x1000":               "s0",
		"d1w2":                "d1",
		"d1":                  "s0",
		"x3000c0h2s1":         "x3000c0h2",
		"p1.2":                "p1",
		"p1":                  "",
		"s0":                  "",
		"sms1":                "",
		"all":                 "",
		"all_comp":            "",
		"nonsense":            "",
		"x1000q1":             "",
		"":                    "",
	} {
		if got := Parent(given); got != want {
			t.Errorf("Parent(%q) = %q, want %q", given, got, want)
		}
	}
}

// checkName holds for every string whatever: it is what the tables, the random
// names and the fuzzers share.
func checkName(t *testing.T, s string) {
	t.Helper()
	c := Canonical(s)
	if again := Canonical(c); again != c {
		t.Errorf("Canonical(%q) = %q, and of that %q", s, c, again)
	}
	if u := Canonical(upperASCII(s)); u != c {
		t.Errorf("Canonical(%q) = %q, and in capitals %q", s, c, u)
	}
	if got, want := TypeOf(c), TypeOf(s); got != want {
		t.Errorf("TypeOf(%q) = %s, of its canonical form %s", s, want, got)
	}
	if ValidComponent(s) != (TypeOf(s) != Invalid) {
		t.Errorf("ValidComponent(%q) = %t, its type is %s", s, ValidComponent(s), TypeOf(s))
	}
	levels := 0
	for at := s; at != ""; at = Parent(at) {
		if levels++; levels > longestShape+2 {
			t.Fatalf("the parents of %q do not end", s)
		}
		if at != s && TypeOf(at) == Invalid {
			t.Errorf("%q has an ancestor %q that is no name", s, at)
		}
		if at != s && Canonical(at) != at {
			t.Errorf("%q has an ancestor %q that is not canonical", s, at)
		}
	}
	checkStrict(t, s)
}

func upperASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

func TestPropertiesOfRandomNames(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	named := 0
	for range 30_000 {
		s := randomName(rng)
		checkName(t, s)
		if TypeOf(s) != Invalid {
			named++
		}
	}
	if named < 10_000 {
		t.Errorf("only %d of the random names are names: the properties were hardly tried", named)
	}
}

// randomName makes a text that is often a name, often nearly one.
func randomName(rng *rand.Rand) string {
	shapes := []string{"x", "xc", "xcs", "xcsb", "xcsb", "xcsbn", "xcsbn", "xcsbn", "xcsbngk", "xcrjp", "xmpv", "dw", "p.", "S", "s"}
	var b strings.Builder
	for i, letter := range []byte(shapes[rng.IntN(len(shapes))]) {
		if rng.IntN(60) == 0 {
			letter = byte(rng.IntN(256))
		}
		if rng.IntN(40) == 0 {
			letter = upperASCII(string(letter))[0]
		}
		b.WriteByte(letter)
		b.WriteString(randomNumber(rng, i == 0))
	}
	if rng.IntN(30) == 0 {
		b.WriteByte("\n x0"[rng.IntN(4)])
	}
	return b.String()
}

func randomNumber(rng *rand.Rand, first bool) string {
	most := 3
	if first {
		most = 5
	}
	if rng.IntN(15) == 0 {
		most = 7
	}
	b := make([]byte, 1+rng.IntN(most))
	for i := range b {
		b[i] = "0012345678"[rng.IntN(10)]
	}
	if rng.IntN(60) == 0 {
		return ""
	}
	return string(b)
}

var wellKnown = []string{
	"x1000c4s4b1n1", "x52164c40s4b1n2", "x0c0s0b0n0", "X0003C0", "x0052c1s01b001n1", "x99999c255s255b255n255",
	"x1000c256s0b0n0", "x1000c4s4b1n1g2k3", "x1000c4s4b1n1g2k3a1", "p1.2", "s0", "all_svc", "sms01", "d1w2", "", "x", "x0x0",
	"x1000c4s4b1n1\n", "x١c0", "ALL", "x000000000000000000000000001", "p.1", "p1.",
}

func FuzzCanonical(f *testing.F) {
	for _, s := range wellKnown {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkName(t, s)
		c := Canonical(s)
		if len(c) > len(s) {
			t.Errorf("Canonical(%q) = %q grew", s, c)
		}
		// Nothing but zeros may go, and nothing but case may change.
		if got, want := strings.ReplaceAll(c, "0", ""), strings.ReplaceAll(s, "0", ""); upperASCII(got) != upperASCII(want) {
			t.Errorf("Canonical(%q) = %q changed more than case and zeros", s, c)
		}
	})
}

func TestCanonicalInputIsNotCopied(t *testing.T) {
	for _, s := range []string{"x1000c4s4b1n1", "x52164c40s4b1", "x1000c4s4b1n1g2k3", "p1.2", "s0", "all_comp", "nonsense"} {
		if n := testing.AllocsPerRun(100, func() { Canonical(s) }); n != 0 {
			t.Errorf("Canonical(%q) allocates %v times, want 0", s, n)
		}
		if n := testing.AllocsPerRun(100, func() { TypeOf(s) }); n != 0 {
			t.Errorf("TypeOf(%q) allocates %v times, want 0", s, n)
		}
		if n := testing.AllocsPerRun(100, func() { Parent(s) }); n != 0 {
			t.Errorf("Parent(%q) allocates %v times, want 0", s, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { Canonical("X0003C0") }); n != 1 {
		t.Errorf("Canonical of a name that must change allocates %v times, want 1", n)
	}
	for _, s := range []string{"x1000c4s4b1n1", "x0c0s0b0n0"} {
		if n := testing.AllocsPerRun(100, func() { ForComputeNode(s) }); n != 0 {
			t.Errorf("ForComputeNode(%q) allocates %v times, want 0", s, n)
		}
	}
}

func BenchmarkCanonical(b *testing.B) {
	for b.Loop() {
		Canonical("x1000c4s4b1n1")
	}
}

func BenchmarkCanonicalRewrites(b *testing.B) {
	for b.Loop() {
		Canonical("X1000C04S04B1N01")
	}
}

func BenchmarkTypeOf(b *testing.B) {
	for b.Loop() {
		TypeOf("x1000c4s4b1n1")
	}
}

func BenchmarkParent(b *testing.B) {
	for b.Loop() {
		Parent("x1000c4s4b1n1")
	}
}

func BenchmarkParseNode(b *testing.B) {
	for b.Loop() {
		if _, err := ParseNode("x1000c4s4b1n1"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNodeString(b *testing.B) {
	n := NodeName{1000, 4, 4, 1, 1}
	for b.Loop() {
		_ = n.String()
	}
}
