// The command that both sides of `cargo xtask bench start` run: nothing at all.
int main(void)
{
    return 0;
}
