package oauth

import (
	"bytes"
	"fmt"

	"github.com/go-jose/go-jose/v4/json"
)

// Claims decodes all claims into v, a pointer to a struct or a map, by the rules of
// [AccessToken.Claim].
func (t *AccessToken) Claims(v any) error {
	var all bytes.Buffer
	separator := byte('{')
	for _, claim := range t.claims {
		quoted, err := json.Marshal(claim.name)
		if err != nil {
			return fmt.Errorf("decode the claims: %w", err)
		}
		all.WriteByte(separator)
		all.Write(quoted)
		all.WriteByte(':')
		all.WriteString(claim.value)
		separator = ','
	}
	if all.Len() == 0 {
		all.WriteByte(separator)
	}
	all.WriteByte('}')
	if err := json.Unmarshal(all.Bytes(), v); err != nil {
		return fmt.Errorf("decode the claims: %w", err)
	}
	return nil
}
