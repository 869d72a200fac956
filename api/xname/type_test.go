package xname

import (
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	hms "github.com/Cray-HPE/hms-xname/xnametypes"
)

func TestTypeOf(t *testing.T) {
	for given, want := range map[string]Type{
		"all":                     All,
		"all_comp":                AllComp,
		"All_Svc":                 AllSvc,
		"s0":                      System,
		"S00":                     System,
		"s1":                      Invalid,
		"p1":                      Partition,
		"P01.02":                  Partition,
		"p1.":                     Invalid,
		"p.1":                     Invalid,
		"p1.2.3":                  Invalid,
		"p1x2":                    Invalid,
		"p100000":                 Invalid,
		"sms01":                   SMSBox,
		"sms":                     Invalid,
		"sms1n1":                  Invalid,
		"d1":                      CDU,
		"D1W02":                   CDUMgmtSwitch,
		"x1000":                   Cabinet,
		"x99999":                  Cabinet,
		"x000099999":              Cabinet,
		"x100000":                 Invalid,
		"x1000c0w0":               MgmtSwitch,
		"x1000c0s0b0n0":           Node,
		"x9999c7s63b1n1":          Node,
		"X0C0S0B0N0":              Node,
		"x52164c40s4b1n2":         Node,
		"x52164c40s4b1":           NodeBMC,
		"x1000c0s0j1":             NodePowerConnector,
		"x1000c0s0v1":             NodePowerConnector,
		"x1000c0s0b0n0g1k2":       Drive,
		"x1000c0s0b0n0v3":         VirtualNode,
		"x1000c0s0b0n0g1k2p1":     Invalid,
		"x1000c0s0b0n0g1k2p1q2w3": Invalid,
		"x1000c0s0b0n":            Invalid,
		"x1000c0s0b0n0\n":         Invalid,
		" x1000":                  Invalid,
		"x1000n0":                 Invalid,
		"c0":                      Invalid,
		"x":                       Invalid,
		"1000":                    Invalid,
		"INVALID":                 Invalid,
		"x1000c٣":                 Invalid,
		"all_ſvc":                 Invalid,
		"":                        Invalid,
	} {
		if got := TypeOf(given); got != want {
			t.Errorf("TypeOf(%q) = %s, want %s", given, got, want)
		}
		if got := ValidComponent(given); got != (want != Invalid) {
			t.Errorf("ValidComponent(%q) = %t, its type is %s", given, got, want)
		}
	}
}

// A program that also knows the names of HMS must know the same kinds of things.
func TestTypesAreThoseOfHMS(t *testing.T) {
	var got []string
	for _, k := range Types() {
		got = append(got, string(k))
	}
	if !slices.IsSorted(got) {
		t.Errorf("types are not in order: %v", got)
	}
	want := slices.Sorted(slices.Values(hms.GetHMSTypeList()))
	if !slices.Equal(got, want) {
		t.Errorf("got types\n%v\nwant\n%v", got, want)
	}

	Types()[0] = "changed"
	if first := Types()[0]; first != All {
		t.Errorf("a caller changed the list: it begins with %s", first)
	}
}

// Every shape has the type that HMS gives to some name of that shape.
func TestShapesAreThoseOfHMS(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, shape := range slices.Sorted(maps.Keys(shapes)) {
		sample := ""
		for range 2000 { // HMS bounds each number its own way: b0 here, w1 there
			if s := small(rng, shape); hms.GetHMSType(s) != hms.HMSTypeInvalid {
				sample = s
				break
			}
		}
		if got, want := hms.GetHMSType(sample), shapes[shape]; string(got) != string(want) {
			t.Errorf("shape %s: HMS says %s of %q, want %s", shape, got, sample, want)
		}
	}
}

// What HMS takes is taken here, with the same type, canonical form and parent.
func TestAgreesWithHMS(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	every := append(slices.Sorted(maps.Keys(shapes)), "p", "S", "s")
	seen := map[Type]int{}
	for range 20_000 {
		shape := []byte(every[rng.IntN(len(every))])
		if rng.IntN(4) == 0 { // any row of letters, most of them wrong
			shape = append(shape, "abcdefghijklmnprstvwx"[rng.IntN(21)])
		}
		s := small(rng, string(shape))
		known := hms.GetHMSType(s)
		if known == hms.HMSTypeInvalid || anyCharacter.MatchString(s) {
			continue
		}
		seen[Type(known)]++
		given := s
		if rng.IntN(2) == 0 {
			given = numbers.ReplaceAllString(upperASCII(s), "0$0")
		}
		if got := TypeOf(given); string(got) != string(known) {
			t.Errorf("TypeOf(%q) = %s, HMS says %s", given, got, known)
		}
		if got, want := Canonical(given), hms.NormalizeHMSCompID(given); got != want {
			t.Errorf("Canonical(%q) = %q, HMS says %q", given, got, want)
		}
		if got, want := Parent(given), hms.GetHMSCompParent(s); got != want {
			t.Errorf("Parent(%q) = %q, HMS says %q", given, got, want)
		}
	}
	words := []Type{All, AllComp, AllSvc, Invalid} // in the table of TestTypeOf
	for _, k := range types {
		if seen[k] == 0 && !slices.Contains(words, k) {
			t.Errorf("no random name was a %s: the comparison is not whole", k)
		}
	}
}

var (
	numbers = regexp.MustCompile(`[0-9]+`)
	// HMS's pattern for a partition takes any character for the dot.
	anyCharacter = regexp.MustCompile(`^p[0-9]+[^0-9]`)
)

// small makes a name of that shape with small numbers; the letter S stands for sms.
func small(rng *rand.Rand, shape string) string {
	var b strings.Builder
	for _, letter := range shape {
		if letter == 'S' {
			b.WriteString("sms")
		} else {
			b.WriteRune(letter)
		}
		b.WriteByte("0012"[rng.IntN(4)])
	}
	return b.String()
}

func FuzzTypeOf(f *testing.F) {
	for _, s := range wellKnown {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := TypeOf(s)
		if !slices.Contains(types, got) {
			t.Fatalf("TypeOf(%q) = %q, which is no type", s, got)
		}
		if want := typeByPattern(s); got != want {
			t.Errorf("TypeOf(%q) = %s, want %s", s, got, want)
		}
	})
}

// typeByPattern says the slow way what TypeOf says.
func typeByPattern(s string) Type {
	s = upperASCII(s)
	for pattern, k := range patterns {
		if pattern.MatchString(s) {
			return k
		}
	}
	return Invalid
}

var patterns = func() map[*regexp.Regexp]Type {
	const number = `0*[0-9]{1,5}`
	all := map[string]Type{
		"ALL": All, "ALL_COMP": AllComp, "ALL_SVC": AllSvc, "S0+": System,
		"SMS" + number: SMSBox, "P" + number + `(\.` + number + ")?": Partition,
	}
	for shape, k := range shapes {
		all[strings.Join(strings.Split(strings.ToUpper(shape), ""), number)+number] = k
	}
	compiled := map[*regexp.Regexp]Type{}
	for pattern, k := range all {
		compiled[regexp.MustCompile("^(?:"+pattern+")$")] = k
	}
	return compiled
}()
