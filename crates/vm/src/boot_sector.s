# The probe's boot sector (GNU as). It goes where a kernel goes: into long mode with paging, and there
# through an instruction that current kernels run before they look at anything, when CPUID offers it.
# An accelerator that has come so far leaves through the exit device at port 0xf4.
.intel_syntax noprefix
.code16
.globl _start
_start:
    cli
    xor eax, eax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    # Page tables at 0x9000, 0xa000, 0xb000: the first 2 MiB onto themselves.
    mov edi, 0x9000
    mov cx, 0xc00
    cld
    rep stosd
    mov word ptr [0x9000], 0xa003
    mov word ptr [0xa000], 0xb003
    mov word ptr [0xb000], 0x0083
    mov eax, 0x9000
    mov cr3, eax
    mov eax, 0x220              # CR4: PAE, OSFXSR
    mov cr4, eax
    mov ecx, 0xc0000080         # EFER: long mode
    mov eax, 0x100
    xor edx, edx
    wrmsr
    lgdt [gdt_pointer]
    mov eax, 0x80000001         # CR0: paging, protection
    mov cr0, eax
    ljmp 8, offset long_mode
.code64
long_mode:
    movq xmm0, rax              # SSE2, as every x86-64 has it
    xor eax, eax
    cpuid
    cmp eax, 7
    jb leave
    mov eax, 7
    xor ecx, ecx
    cpuid
    bt ebx, 8                   # BMI2
    jnc leave
    shlx r8d, r8d, edx
leave:
    mov dx, 0xf4
    mov al, 0x21
    out dx, al
stop:
    hlt
    jmp stop
.balign 8
gdt:
    .quad 0
    .quad 0x00209a0000000000    # 64-bit code
gdt_pointer:
    .word . - gdt - 1
    .long gdt
.org 510
    .word 0xaa55
