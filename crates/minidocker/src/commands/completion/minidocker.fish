# Completes minidocker's command line in fish 3 and later.
function __minidocker_complete
    set -l words (commandline --tokenize --current-process --cut-at-cursor)
    set -l current (commandline --current-token --cut-at-cursor)
    set -l program $words[1]
    # An alias or a wrapper: the program itself knows.
    type --query --force-path $program; or set program minidocker
    $program __complete words $words[2..] "$current" 2>/dev/null
end

complete --command minidocker --no-files --keep-order --arguments '(__minidocker_complete)'
