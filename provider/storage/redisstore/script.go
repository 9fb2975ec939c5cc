package redisstore

import (
	"crypto/sha1"
	_ "embed" // the scripts
	"encoding/hex"
)

// A script is Lua that a server runs as one step.
type script struct {
	text   string
	sha    string // the name under which a server that has seen it keeps it
	writes bool
}

var (
	//go:embed common.lua
	commonText string
	//go:embed put.lua
	putText string
	//go:embed join.lua
	joinText string
	//go:embed delete.lua
	deleteText string
	//go:embed add.lua
	addText string
	//go:embed page.lua
	pageText string
	//go:embed layout.lua
	layoutText string

	putScript    = newScript(commonText+putText, true)
	joinScript   = newScript(commonText+joinText, true)
	deleteScript = newScript(commonText+deleteText, true)
	addScript    = newScript(addText, true)
	pageScript   = newScript(pageText, false)
	layoutScript = newScript(layoutText, true)
)

func newScript(text string, writes bool) *script {
	sum := sha1.Sum([]byte(text))
	return &script{text: text, sha: hex.EncodeToString(sum[:]), writes: writes}
}
