package inventory

// NodeFilter selects compute nodes; what is empty selects all, what is given must all hold.
type NodeFilter struct {
	XName       string // compared in canonical form
	Hostname    string
	Arch        string
	BootMAC     string // compared by MACKey
	BMCMAC      string // compared by MACKey
	MissingIPv4 bool   // no address of that family anywhere in the node
	MissingIPv6 bool
}

// DeletedNode tells what a deletion leaves behind.
type DeletedNode struct {
	ID          string   `json:"id"`
	XName       string   `json:"xname,omitempty"`
	Collections []string `json:"collections,omitempty"` // names of those that still list its xname
}

// MACKey is the form in which MAC addresses (48-bit, IEEE 802) are compared: 12
// hexadecimal digits in lower case. It is empty for what is no key: no address, not
// one, all zero, or broadcast.
func MACKey(mac string) string {
	var key [12]byte
	n, same := 0, true
	for i := range len(mac) {
		c := mac[i]
		switch {
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f':
		case c >= 'A' && c <= 'F':
			c += 'a' - 'A'
			same = false
		case c == ':' || c == '-' || c == '.' || c == ' ':
			continue
		default:
			return ""
		}
		if n == len(key) {
			return ""
		}
		key[n] = c
		n++
	}
	switch {
	case n < len(key) || string(key[:]) == "000000000000" || string(key[:]) == "ffffffffffff":
		return ""
	case same && len(mac) == len(key): // it is a key already: no other string is made
		return mac
	}
	return string(key[:])
}

// Colons writes a MACKey as clients look for it: in pairs with colons between.
func Colons(key string) string {
	text := make([]byte, 0, len("00:00:00:00:00:00"))
	for k := range len(key) {
		if k > 0 && k%2 == 0 {
			text = append(text, ':')
		}
		text = append(text, key[k])
	}
	return string(text)
}
