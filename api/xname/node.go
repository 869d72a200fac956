package xname

import (
	"errors"
	"fmt"
	"strconv"
)

// NodeName is the place of a node: xXcCsSbBnN.
type NodeName struct {
	Cabinet, Chassis, Slot, BMC, Node int
}

// BMCName is the place of a node's controller, which may serve several nodes: xXcCsSbB.
type BMCName struct {
	Cabinet, Chassis, Slot, BMC int
}

// ErrSyntax says that a text has not the form of the name that was asked for.
// Its text is what clients of the node routes know.
var ErrSyntax = errors.New("XName does not match regex")

// RangeError says that a name has the right form and a number in it is too large.
type RangeError struct {
	Level       string // cabinet, chassis, slot, bmc or node
	Number, Max int
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("%s number %d exceeds the maximum allowed value of %d", e.Level, e.Number, e.Max)
}

// level is a step of the strict grammar: its letter, how many digits may follow (leading zeros
// count), and the largest number.
type level struct {
	letter              byte
	name                string
	fewest, most, limit int
}

// levels is ^x(\d{3,5})c(\d{1,3})s(\d{1,3})b(\d{1,3})n(\d{1,3})$ with its limits; a BMC's name
// ends one level earlier. Five digits cannot pass the limit of the cabinet: it is the second
// line of defence, should the digits ever be relaxed.
var levels = [...]level{
	{'x', "cabinet", 3, 5, 100000},
	{'c', "chassis", 1, 3, 255},
	{'s', "slot", 1, 3, 255},
	{'b', "bmc", 1, 3, 255},
	{'n', "node", 1, 3, 255},
}

// ParseNode reads the name of a node in the strict grammar of the node routes:
// lower case, a cabinet of three to five digits (at most 100000), and chassis,
// slot, bmc and node of one to three digits (at most 255). Leading zeros count
// as digits, so x0100c0s0b0n0 is taken and x10c0s0b0n0 is not. The error is
// ErrSyntax or, for the first number that is too large, a *RangeError.
func ParseNode(s string) (NodeName, error) {
	n, err := parse(s, levels[:])
	if err != nil {
		return NodeName{}, err
	}
	return NodeName{n[0], n[1], n[2], n[3], n[4]}, nil
}

// ParseBMC reads the name of a node's controller as ParseNode reads that of a node.
func ParseBMC(s string) (BMCName, error) {
	n, err := parse(s, levels[:4])
	if err != nil {
		return BMCName{}, err
	}
	return BMCName{n[0], n[1], n[2], n[3]}, nil
}

// ForComputeNode reports whether the node routes take s, exactly as it is
// written, for the name of a node. A node known only to the SMD routes, such as
// x0c0s0b0n0, may have a name that they do not take.
func ForComputeNode(s string) bool {
	_, err := ParseNode(s)
	return err == nil
}

func parse(s string, want []level) (numbers [len(levels)]int, err error) {
	for i, l := range want {
		if s == "" || s[0] != l.letter {
			return numbers, ErrSyntax
		}
		count := digits(s[1:])
		if count < l.fewest || count > l.most {
			return numbers, ErrSyntax
		}
		for _, digit := range []byte(s[1 : 1+count]) {
			numbers[i] = numbers[i]*10 + int(digit-'0')
		}
		s = s[1+count:]
	}
	if s != "" {
		return numbers, ErrSyntax
	}
	for i, l := range want { // only now: a wrong form is said before a large number
		if numbers[i] > l.limit {
			return numbers, &RangeError{l.name, numbers[i], l.limit}
		}
	}
	return numbers, nil
}

// String gives the canonical name. ParseNode takes it back unless the cabinet's
// number is below 100, where the strict grammar wants leading zeros.
func (n NodeName) String() string {
	return join(n.Cabinet, n.Chassis, n.Slot, n.BMC, n.Node)
}

// BMCName gives the controller that the node's name implies.
func (n NodeName) BMCName() BMCName {
	return BMCName{n.Cabinet, n.Chassis, n.Slot, n.BMC}
}

// CabinetName gives the canonical name of the cabinet that the node stands in.
func (n NodeName) CabinetName() string { return join(n.Cabinet) }

// ChassisName gives the canonical name of the chassis that the node is in.
func (n NodeName) ChassisName() string { return join(n.Cabinet, n.Chassis) }

// SlotName gives the canonical name of the slot, or blade, that the node is on.
func (n NodeName) SlotName() string { return join(n.Cabinet, n.Chassis, n.Slot) }

// String gives the canonical name. ParseBMC takes it back under the condition
// of NodeName.String.
func (b BMCName) String() string {
	return join(b.Cabinet, b.Chassis, b.Slot, b.BMC)
}

// join writes numbers behind the letters of the first levels.
func join(numbers ...int) string {
	b := make([]byte, 0, len("x100000c255s255b255n255"))
	for i, n := range numbers {
		b = append(b, levels[i].letter)
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return string(b)
}
