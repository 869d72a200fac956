package fsm

import "github.com/orchd/orchd/api"

// SealUserData is the purpose for which the user-data of VMs is sealed.
const SealUserData = "vm.user_data"

// Seed is what a VM was given to begin with: who may log in, and its user-data. It
// lies beside the VM's row, which is read far more often.
type Seed struct {
	VM       string   `json:"vm"`
	Account  string   `json:"account"`
	Keys     []string `json:"keys,omitempty"`                    // TYPE BASE64, and a comment if there is one
	UserData []byte   `json:"user_data,omitempty" secret:"true"` // sealed
}

var seeds = &table[Seed]{
	name:    "seeds",
	key:     func(s *Seed) string { return s.VM },
	account: func(s *Seed) string { return s.Account },
	secrets: func(s *Seed) []secretPart { return []secretPart{{SealUserData, 0, &s.UserData}} },
}

// Bounds of what a VM is given.
const (
	maxUserData   = 256 << 10
	maxSealed     = maxUserData + 4<<10 // sealing adds to it
	maxKeys       = 64
	maxLabels     = 64
	maxLabelValue = 255
)

// Seed is what a VM was given to begin with; its user-data is sealed for SealUserData.
func (r Reader) Seed(vm string) (Seed, bool) { return seeds.one(r, vm) }

// sealedUserData takes the user-data out of a specification and seals it.
func (w *Writer) sealedUserData(spec *api.VMSpec) (secretWrite, error) {
	plain := spec.UserData
	spec.UserData = ""
	switch {
	case plain == "":
		return secretWrite{}, nil
	case len(plain) > maxUserData:
		return secretWrite{}, fault("/spec/user_data", "must have at most 262144 bytes")
	}
	return w.sealed(SealUserData, &plain)
}
