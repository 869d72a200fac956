package xname

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"testing"
)

func TestParseNode(t *testing.T) {
	const mismatch = "XName does not match regex"
	for _, c := range []struct {
		given string
		want  NodeName
		err   string
	}{
		{given: "x1000c4s4b1n1", want: NodeName{1000, 4, 4, 1, 1}},
		{given: "x52164c40s4b1n2", want: NodeName{52164, 40, 4, 1, 2}},
		{given: "x0100c0s0b0n0", want: NodeName{100, 0, 0, 0, 0}},
		{given: "x000c000s000b000n000", want: NodeName{}},
		{given: "x99999c255s255b255n255", want: NodeName{99999, 255, 255, 255, 255}},
		{given: "x1000c256s0b0n0", err: "chassis number 256 exceeds the maximum allowed value of 255"},
		{given: "x1000c0s999b0n0", err: "slot number 999 exceeds the maximum allowed value of 255"},
		{given: "x1000c0s0b300n0", err: "bmc number 300 exceeds the maximum allowed value of 255"},
		{given: "x1000c0s0b0n256", err: "node number 256 exceeds the maximum allowed value of 255"},
		{given: "x1000c0s0b700n800", err: "bmc number 700 exceeds the maximum allowed value of 255"},
		{given: "x1000c999s0b0", err: mismatch},
		{given: "x10c0s0b0n0", err: mismatch},
		{given: "x100000c0s0b0n0", err: mismatch},
		{given: "x1000c0000s0b0n0", err: mismatch},
		{given: "X1000c0s0b0n0", err: mismatch},
		{given: "x1000c0s0b0N0", err: mismatch},
		{given: "x1000c0s0b0n0\n", err: mismatch},
		{given: " x1000c0s0b0n0", err: mismatch},
		{given: "x1000c0s0b0n", err: mismatch},
		{given: "x1000c0s0b0n-1", err: mismatch},
		{given: "x1000c0s0b0n٣", err: mismatch},
		{given: "x1000c0s0b0", err: mismatch},
		{given: "x1000c0s0b0n0p0", err: mismatch},
		{given: "", err: mismatch},
	} {
		got, err := ParseNode(c.given)
		if text(err) != c.err || got != c.want {
			t.Errorf("ParseNode(%q) = %+v, %q; want %+v, %q", c.given, got, text(err), c.want, c.err)
		}
		if ForComputeNode(c.given) != (c.err == "") {
			t.Errorf("ForComputeNode(%q) = %t", c.given, ForComputeNode(c.given))
		}
	}
}

func TestParseBMC(t *testing.T) {
	for _, c := range []struct {
		given string
		want  BMCName
		err   string
	}{
		{given: "x52164c40s4b1", want: BMCName{52164, 40, 4, 1}},
		{given: "x0100c0s0b0", want: BMCName{100, 0, 0, 0}},
		{given: "x1000c0s0b256", err: "bmc number 256 exceeds the maximum allowed value of 255"},
		{given: "x1000c0s0b0n0", err: "XName does not match regex"},
		{given: "x0c0s0b0", err: "XName does not match regex"},
		{given: "", err: "XName does not match regex"},
	} {
		got, err := ParseBMC(c.given)
		if text(err) != c.err || got != c.want {
			t.Errorf("ParseBMC(%q) = %+v, %q; want %+v, %q", c.given, got, text(err), c.want, c.err)
		}
	}
}

func TestErrorsAreTyped(t *testing.T) {
	if _, err := ParseNode("chassis 4"); !errors.Is(err, ErrSyntax) {
		t.Errorf("got %v, want ErrSyntax", err)
	}
	_, err := ParseNode("x1000c0s300b0n0")
	tooLarge, ok := errors.AsType[*RangeError](err)
	if want := (RangeError{"slot", 300, 255}); !ok || *tooLarge != want {
		t.Errorf("got %v, want %+v", err, want)
	}
}

// The cabinet's limit cannot be passed with five digits; its text is part of the contract all the same.
func TestCabinetLimit(t *testing.T) {
	err := &RangeError{levels[0].name, 100001, levels[0].limit}
	if want := "cabinet number 100001 exceeds the maximum allowed value of 100000"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestNamesOfANodesPlace(t *testing.T) {
	n := NodeName{1000, 4, 5, 1, 2}
	for _, c := range []struct{ got, want string }{
		{n.String(), "x1000c4s5b1n2"},
		{n.BMCName().String(), "x1000c4s5b1"},
		{n.SlotName(), "x1000c4s5"},
		{n.ChassisName(), "x1000c4"},
		{n.CabinetName(), "x1000"},
		{NodeName{}.String(), "x0c0s0b0n0"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

var (
	nodeForm = regexp.MustCompile(`^x(\d{3,5})c(\d{1,3})s(\d{1,3})b(\d{1,3})n(\d{1,3})$`)
	bmcForm  = regexp.MustCompile(`^x(\d{3,5})c(\d{1,3})s(\d{1,3})b(\d{1,3})$`)
)

// oracle says by regular expression and limits what ParseNode and ParseBMC must say.
func oracle(form *regexp.Regexp, s string) (numbers []int, err string) {
	found := form.FindStringSubmatch(s)
	if found == nil {
		return nil, "XName does not match regex"
	}
	for i, digits := range found[1:] {
		n, _ := strconv.Atoi(digits)
		limit := 255
		if i == 0 {
			limit = 100000
		}
		if n > limit {
			level := []string{"cabinet", "chassis", "slot", "bmc", "node"}[i]
			return nil, fmt.Sprintf("%s number %d exceeds the maximum allowed value of %d", level, n, limit)
		}
		numbers = append(numbers, n)
	}
	return numbers, ""
}

// checkStrict compares ParseNode and ParseBMC with the oracle, and the names
// they give with Canonical and TypeOf.
func checkStrict(t *testing.T, s string) {
	t.Helper()
	want, wrong := oracle(nodeForm, s)
	n, err := ParseNode(s)
	if text(err) != wrong {
		t.Errorf("ParseNode(%q) says %q, want %q", s, text(err), wrong)
	}
	if err == nil {
		if want := (NodeName{want[0], want[1], want[2], want[3], want[4]}); n != want {
			t.Errorf("ParseNode(%q) = %+v, want %+v", s, n, want)
		}
		checkNode(t, s, n)
	}

	want, wrong = oracle(bmcForm, s)
	b, err := ParseBMC(s)
	if text(err) != wrong {
		t.Errorf("ParseBMC(%q) says %q, want %q", s, text(err), wrong)
	}
	if err == nil {
		if want := (BMCName{want[0], want[1], want[2], want[3]}); b != want {
			t.Errorf("ParseBMC(%q) = %+v, want %+v", s, b, want)
		}
		if b.String() != Canonical(s) || TypeOf(s) != NodeBMC {
			t.Errorf("%q is %s of type %s, want %s and NodeBMC", s, b, TypeOf(s), Canonical(s))
		}
	}
}

func checkNode(t *testing.T, s string, n NodeName) {
	t.Helper()
	if n.String() != Canonical(s) || TypeOf(s) != Node {
		t.Errorf("%q is %s of type %s, want %s and Node", s, n, TypeOf(s), Canonical(s))
	}
	if got, want := n.BMCName().String(), Parent(s); got != want {
		t.Errorf("the BMC of %q is %s, its parent %s", s, got, want)
	}
	if got, want := n.SlotName(), Parent(Parent(s)); got != want {
		t.Errorf("the slot of %q is %s, its BMC's parent %s", s, got, want)
	}
	again, err := ParseNode(n.String())
	if n.Cabinet < 100 {
		if !errors.Is(err, ErrSyntax) {
			t.Errorf("ParseNode(%q) gives %v, want ErrSyntax: its cabinet has not three digits", n, err)
		}
	} else if err != nil || again != n {
		t.Errorf("ParseNode(%q) = %+v, %v; want %+v", n, again, err, n)
	}
}

func FuzzParseNode(f *testing.F) {
	for _, s := range wellKnown {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkStrict(t, s) })
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
